"""IRC logs as conversations: bytes in, steps out. What the lines mean is in irc_lines.py.

Lines end at a line feed and nowhere else; a carriage return before it goes with it. Each line is decoded on
its own: UTF-8, or else cp1252, whose five undefined bytes become the C1 controls of the same number. A byte
order mark is dropped; one of UTF-16 at the start makes the whole file UTF-16.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from cli.conversation import Conversation, Join, Kick, Part, Refusal, Say, Step, with_membership
from cli.irc_lines import Other, read_line, valid_nick
from core.limits import MESSAGE_BYTES_MAX

REASONS = {
    "too_long": f"over {MESSAGE_BYTES_MAX:,} bytes",
    "nul": "with a NUL character",
    "surrogate": "with half a character",
}
"""Why a message is refused, in words."""
_CHUNK_BYTES = 65_536
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CP1252 = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))


def parse_file(path: Path) -> Conversation:
    """The conversation of one log; its name is the file's without the last suffix. OSError as from `open`."""
    with path.open("rb") as stream:
        return parse(stream, path.stem, str(path))


def parse(stream: BinaryIO, name: str, file: str | None = None) -> Conversation:
    """The conversation of a log, with membership that adds up. No content makes it raise.

    Every line that is not blank is counted once: as event, skipped, marker, empty or refused. `file` is how
    refusals name the log; `name` if it is not given. Linear in the size; holds the steps and one line.
    """
    steps: list[Step] = []
    refused: list[Refusal] = []
    counts = dict.fromkeys(Other, 0)
    lines = events = 0
    for number, line in enumerate(_lines(stream), 1):
        if not line:
            continue
        lines += 1
        found = read_line(line)
        if isinstance(found, Other):
            counts[found] += 1
        elif refusal := _refusal(found[0], file or name, number):
            refused.append(refusal)
        else:
            events += 1
            steps += found
    normal = with_membership(steps)
    return Conversation(
        name,
        normal.steps,
        normal.nicks,
        lines=lines,
        events=events,
        skipped=counts[Other.SKIPPED],
        markers=counts[Other.MARKER],
        empty=counts[Other.EMPTY],
        refused=tuple(refused),
        inserted=normal.inserted,
        dropped=normal.dropped,
    )


def account(conversation: Conversation) -> str:
    """What became of the lines of a log, in a sentence."""
    parts = {
        "joins, parts and kicks": conversation.events - conversation.messages,
        "of no known form": conversation.skipped,
        "about the log": conversation.markers,
        "without a text": conversation.empty,
        "refused": len(conversation.refused),
    }
    others = "".join(f", {count:,} {what}" for what, count in parts.items() if count)
    told = f"{conversation.lines:,} lines, {conversation.messages:,} messages of {len(conversation.nicks):,} people"
    return f"{conversation.name}: {told}{others}"


def render_mirc(conversation: Conversation) -> bytes:
    """A mIRC log that `parse` reads back as the same steps, if these have a membership that adds up.

    ValueError names the first nick or text that no line of a log can hold.
    """
    result = []
    for number, step in enumerate(conversation.steps):
        stamp = f"[{number // 600 % 24:02}:{number // 10 % 60:02}]"
        for nick in (step.nick, step.by) if isinstance(step, Kick) else (step.nick,):
            # A colon ends the words that open mIRC's own remarks.
            if not valid_nick(nick) or ":" in nick:
                raise ValueError(f"step {number}: no log can hold the nick {nick!r}")
        match step:
            case Say(nick, text):
                if not text or "\n" in text:
                    raise ValueError(f"step {number}: no line of a log can hold the text {text[:40]!r}")
                result.append(f"{stamp} <{nick}> {text}\r\n")
            case Join(nick):
                result.append(f"{stamp} * Joins: {nick} (user@example.org)\r\n")
            case Part(nick):
                result.append(f"{stamp} * Parts: {nick} (user@example.org)\r\n")
            case Kick(nick, by):
                result.append(f"{stamp} * {nick} was kicked by {by} (enough)\r\n")
    return "".join(result).encode()


def _lines(stream: BinaryIO) -> Iterator[str]:
    first = stream.readline()
    encoding = _UTF16.get(first[:2])
    if encoding:
        yield from _utf16_lines(stream, first[2:], encoding)
        return
    raw = first
    while raw:
        yield _decoded(raw.removesuffix(b"\n").removesuffix(b"\r") if raw.endswith(b"\n") else raw)
        raw = stream.readline()


def _decoded(raw: bytes) -> str:
    # At any line, not only the first: logs are often joined from several files.
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return codecs.charmap_decode(raw, "strict", _CP1252)[0]


def _utf16_lines(stream: BinaryIO, chunk: bytes, encoding: str) -> Iterator[str]:
    # Surrogates without a partner come through, so that the message they are in can be refused by name.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    rest: list[str] = []
    while chunk:
        head, *tail = decoder.decode(chunk).split("\n")
        rest.append(head)
        for line in tail:
            yield "".join(rest).removesuffix("\r").removeprefix("\ufeff")
            rest = [line]
        chunk = stream.read(_CHUNK_BYTES)
    # Half a character at the end of a cut file is a surrogate too: a message is refused rather than changed.
    if decoder.getstate()[0]:
        rest.append("\udfff")
    yield "".join(rest).removeprefix("\ufeff")


def _refusal(step: Step, file: str, line: int) -> Refusal | None:
    if not isinstance(step, Say):
        return None
    reason: Literal["too_long", "nul", "surrogate"] | None = None
    try:
        size = len(step.text.encode())
    except UnicodeEncodeError:
        size = len(step.text.encode("utf-8", "surrogatepass"))
        reason = "surrogate"
    if "\0" in step.text:
        reason = "nul"
    if size > MESSAGE_BYTES_MAX:
        reason = "too_long"
    return Refusal(file, line, step.nick, size, reason) if reason else None

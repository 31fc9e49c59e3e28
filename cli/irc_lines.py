"""One line of an IRC log, of mIRC, irssi or weechat, as steps.

Each line is looked at on its own, so one file may mix the formats. In each a message is a time, a nick and one
separator; all that follows is the text, to the byte.

| | message | membership |
|---|---|---|
| mIRC | `[12:34] <nick> text`, `[12:34:56] ...` | `* Joins: nick (host)`, `* Parts:`, `* Quits:`, the long forms `* nick (host) has joined #c` / `has left` / `Quit`, `* x was kicked by y (reason)`, `* x is now known as y` |
| irssi | `12:34 <nick> text`, `12:34:56 ...` | `-!- nick [host] has joined #c`, `has left`, `has quit`, `was kicked from #c by y [reason]`, `is now known as` |
| weechat | `YYYY-MM-DD HH:MM:SS<tab>nick<tab>text` | `-->`, `<--` and `--` in the nick's place |

What had to be decided:
- Who quits parts. Who is renamed parts under the old nick and joins under the new one: a nick is a user.
- Status signs before a nick (`@ + % & ~`, irssi's space) and colours around it are not the nick. A nick has no space,
  no control character, no `<` or `>`, and is no longer than a name may be; nicks are case-sensitive, as written.
- An action is the message `/me waves`. irssi and weechat mark actions; mIRC writes them like its own remarks
  (`* op sets mode: +v x`, `* Topic is '...'`), so there a first word or a verb of such remarks makes it a remark.
- Modes, topics, notices, netsplits and remarks about oneself (`You're now known as`) are of no known form.
"""  # noqa: E501 - a table

import re
from collections.abc import Callable
from enum import Enum

from cli.conversation import Join, Kick, Part, Say, Step
from core.limits import NAME_CHARS_MAX


class Other(Enum):
    """What a line is that is no step."""

    SKIPPED = "of no known form"
    MARKER = "the log about itself"
    EMPTY = "a message without text"


Line = tuple[Step, ...] | Other

# A dot is any character: what splits lines elsewhere (\r, \x85, U+2028) is text here. In no pattern do two
# open repetitions share a border that both could move: a hostile line costs no more than its length.
_ANY = re.DOTALL

_MARKER = re.compile(
    r"(?:\x03[0-9]{0,2})?Session (?:Start|Close|Ident|Time)\b|--- (?:Log (?:opened|closed)|Day changed)\b"
)
_MIRC = re.compile(r"(?:\x03[0-9]{0,2})?\[[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?\] ")
_IRSSI = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})? ")
_WEECHAT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\t")

_FORMATTING = re.compile(r"\x03(?:[0-9]{1,2}(?:,[0-9]{1,2})?)?|[\x02\x0f\x11\x16\x1d\x1e\x1f]")
_STATUS = " @+%&~"
_NICK = re.compile(rf"[^\x00-\x20<>\ud800-\udfff]{{1,{NAME_CHARS_MAX}}}")
_MESSAGE = re.compile(r"<([^<>]+)>(?: (.*))?", _ANY)
_ACTION = re.compile(r"([^ ]+)(?: (.*))?", _ANY)
_RENAMED = re.compile(r"([^ ]+) is now known as ([^ ]+) ?")

_MIRC_REMARK = re.compile(r"(?:\x03[0-9]{0,2})?(\*|\*\*\*) (.*)", _ANY)
_MIRC_SHORT = re.compile(r"(Joins|Parts|Quits): ([^ ]+)(?: .*)?", _ANY)
_MIRC_LONG = re.compile(
    r"([^ ]+)(?: \([^ ]*\))? has (joined|left) [#&!+][^ ]*(?: \(.*)? ?"
    r"|([^ ]+) \([^ @]*@[^ ]*\) Quit(?: \(.*)? ?",
    _ANY,
)
_MIRC_KICKED = re.compile(r"([^ ]+) was kicked by ([^ ]+)(?: \(.*)? ?", _ANY)
_MIRC_STATUS = re.compile(
    r"(?:Attempting to|Channel (?:created|modes)|Connect (?:retry|cancelled)|Connect(?:ed|ing) to|DNS|Dns"
    r"|Disconnected|End of|Looking up|Mode is|No topic|Now talking|Rejoin(?:ed|ing) channel|Removing"
    r"|Retrieving|Set by|Timer|Topic is|Unable to|Users on|You|You're|Your) "
    r"|[^ ]+ (?:sets mode|changes topic|has changed the topic)[: ]"
)

_IRSSI_MOVED = re.compile(r"([^ ]+)(?: \[[^ ]*\])* has (?:(joined) [^ ]+|(?:left [^ ]+|quit)(?: \[.*)?) ?", _ANY)
_IRSSI_KICKED = re.compile(r"([^ ]+) was kicked from [^ ]+ by ([^ ]+)(?: \[.*)? ?", _ANY)

_WEECHAT_JOINED = re.compile(r"([^ ]+)(?: [(\[].*[)\]])? has joined [^ ]+ ?", _ANY)
_WEECHAT_LEFT = re.compile(r"([^ ]+)(?: \([^ ]*\))? has (?:left [^ ]+|quit)(?: \(.*)? ?", _ANY)
_WEECHAT_KICKED = re.compile(r"([^ ]+) has kicked ([^ ]+)(?: \(.*)? ?", _ANY)
_WEECHAT_LOG = re.compile(r"\*{4}  (?:Beginning|End) of log  \*{4}")
_WEECHAT_NO_NICK = frozenset(("-->", "<--", "--", "=!=", "***", ""))


def read_line(line: str) -> Line:
    """The steps of a line without its terminator, or what it is else. Never raises; linear in its length."""
    if head := _MIRC.match(line):
        return _mirc(line[head.end() :])
    if head := _IRSSI.match(line):
        return _irssi(line[head.end() :])
    if head := _WEECHAT.match(line):
        nick, tab, text = line[head.end() :].partition("\t")
        return _weechat(nick, text) if tab else Other.SKIPPED
    return Other.MARKER if _MARKER.match(line) else Other.SKIPPED


def valid_nick(nick: str) -> bool:
    """Whether a log can name this nick in every format and be read back."""
    return _nick(nick) == nick and nick not in _WEECHAT_NO_NICK and nick != "*"


def _nick(field: str) -> str | None:
    nick = field.lstrip(_STATUS)
    if not _NICK.fullmatch(nick):
        # Colours are rare: looked for only in what is no nick as it stands.
        nick = _FORMATTING.sub("", nick).lstrip(_STATUS)
        if not _NICK.fullmatch(nick):
            return None
    return nick


def _said(field: str, text: str | None) -> Line:
    nick = _nick(field)
    if nick is None:
        return Other.SKIPPED
    return (Say(nick, text),) if text else Other.EMPTY


def _acted(body: str) -> Line:
    match = _ACTION.fullmatch(body)
    if match is None:
        return Other.SKIPPED
    return _said(match[1], match[2] and f"/me {match[2]}")


def _one(step: Callable[[str], Step], field: str) -> Line:
    nick = _nick(field)
    return Other.SKIPPED if nick is None else (step(nick),)


def _kicked(field: str, by_field: str) -> Line:
    nick, by = _nick(field), _nick(by_field)
    return Other.SKIPPED if nick is None or by is None else (Kick(nick, by),)


def _renamed(match: re.Match[str]) -> Line:
    old, new = _nick(match[1]), _nick(match[2])
    return Other.SKIPPED if old is None or new is None else (Part(old), Join(new))


def _mirc(body: str) -> Line:
    if match := _MESSAGE.fullmatch(body):
        return _said(match[1], match[2])
    remark = _MIRC_REMARK.fullmatch(body)
    if remark is None:
        return Other.MARKER if _MARKER.match(body) else Other.SKIPPED
    stars, body = remark.groups()
    if match := _MIRC_SHORT.fullmatch(body):
        return _one(Join if match[1] == "Joins" else Part, match[2])
    if match := _MIRC_KICKED.fullmatch(body):
        return _kicked(match[1], match[2])
    if match := _RENAMED.fullmatch(body):
        return _renamed(match)
    if match := _MIRC_LONG.fullmatch(body):
        return _one(Join if match[2] == "joined" else Part, match[1] or match[3])
    if stars != "*" or " " not in body or _MIRC_STATUS.match(body):
        return Other.SKIPPED
    # A nick has none of these; `/dns x`, `Users on #c: ...` and the like are remarks.
    if any(sign in body.partition(" ")[0] for sign in ":/'\"#"):
        return Other.SKIPPED
    return _acted(body)


def _irssi(body: str) -> Line:
    if match := _MESSAGE.fullmatch(body):
        return _said(match[1], match[2])
    if body.startswith("-!- "):
        body = body[4:]
        if match := _IRSSI_MOVED.fullmatch(body):
            return _one(Join if match[2] else Part, match[1])
        if match := _IRSSI_KICKED.fullmatch(body):
            return _kicked(match[1], match[2])
        if match := _RENAMED.fullmatch(body):
            return _renamed(match)
        return Other.SKIPPED
    if body.startswith((" * ", "* ")):
        return _acted(body.partition("* ")[2])
    return Other.SKIPPED


def _weechat(prefix: str, text: str) -> Line:
    if prefix == "-->":
        match = _WEECHAT_JOINED.fullmatch(text)
        return _one(Join, match[1]) if match else Other.SKIPPED
    if prefix == "<--":
        if match := _WEECHAT_LEFT.fullmatch(text):
            return _one(Part, match[1])
        match = _WEECHAT_KICKED.fullmatch(text)
        return _kicked(match[2], match[1]) if match else Other.SKIPPED
    if prefix == "--":
        match = _RENAMED.fullmatch(text)
        return _renamed(match) if match else Other.SKIPPED
    if prefix in (" *", "*"):
        return _acted(text)
    if prefix in _WEECHAT_NO_NICK:
        return Other.MARKER if _WEECHAT_LOG.match(text) else Other.SKIPPED
    return _said(prefix, text)

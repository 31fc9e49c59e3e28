"""The headless demo on logs as people have them; two demos at once."""

import asyncio
import json
import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.bad_days import Ran, finished, planb, planb_process

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
RUN_S_MAX = 240.0
NICKS = 25
"""More than a normal group holds."""
LONG = 16_385
END_S_MAX = 10.0


async def headless(*files: Path) -> Ran:
    inputs = [word for path in files for word in ("--input", str(path))]
    return await finished(await planb_process("demo", "--headless", "--json", *inputs), RUN_S_MAX)


def mirc() -> tuple[bytes, int]:
    """A log with brackets, cp1252, nicks as the demo has them itself and one that is no name, empty lines, an over-long
    line, more nicks than a group holds; its messages."""
    nicks = [f"[nick]{n}" if n % 5 == 0 else f"nick{n}|away" for n in range(NICKS)]
    lines = [b"Session Start: Mon Nov 23 20:00:00 2026", b"", b"[20:00] * Now talking in #big"]
    for n, nick in enumerate(nicks):
        lines.append(f"[20:0{n % 10}] <{nick}> (na\xefve) caf\xe9 <b>{n}</b>".encode("cp1252"))
        lines.append(f"[20:0{n % 10}:59] <@{nick}> «{n}» 😀 e\u0301".encode())
    lines += [
        b"[20:10] <nick1|away> " + b"y" * LONG,
        b"[20:10] <nick1|away> " + b"z" * (LONG - 1),
        b"[20:11] <nick1|away>",
        b"[20:11] <nick1|away> ",
        b"[20:12] * nick2|away waves",
        b"[20:12] * nick3|away was kicked by nick1|away (enough)",
        b"[20:13] <nick3|away> back already",
        b"[20:13] <planb-host> we are called as the demo's own people are",
        b"[20:13] <watcher-fra> so we are",
        b"[20:13] * planb-host was kicked by watcher-fra",
        b"[20:13] * watcher-nrt was kicked by watcher-fra",
        b"[20:13] <last-words-0> not my last",
        b"[20:13] * Parts: watcher-fra (~x@y)",
        b"[20:13] <c1\x81\x8d> in no name",
        b"what is this line",
        b"[20:13] * Quits: nick4|away (~x@y) (Ping timeout)",
        b"\x85\x85",
    ]
    return b"\r\n".join(lines) + b"\r\n", 2 * NICKS + 1 + 1 + 1 + 4


def irssi() -> tuple[bytes, int]:
    text = """--- Log opened Mon Nov 23 20:00:00 2026
20:00 -!- ann [a@b] has joined #small
20:00 < ann> hello
20:01 <@bob> hello {ann} [sic] \\n
20:01  * ann shrugs
20:02 -!- bob is now known as bob_
20:02 <+bob_> still me
20:03 -!- ann [a@b] has left #small [bye]
20:04 -!- ann [a@b] has joined #small
20:04 < ann> and here again
"""
    return text.encode(), 5


def weechat() -> tuple[bytes, int]:
    rows = [("-->", "eve (e@f) has joined #w"), ("eve", "ti\tbs"), ("@mal", "x  "), (" *", "eve nods"), ("--", "mode")]
    return "".join(f"2026-11-23 20:00:0{n}\t{nick}\t{text}\n" for n, (nick, text) in enumerate(rows)).encode(), 3


def only_json(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err[-2000:]
    assert ran.out.count("\n") == 1, "progress is told on stderr"
    found: dict[str, object] = json.loads(ran.out)
    assert found["ok"] is True, found["claims"]
    return found


async def test_two_demos_at_once_on_any_logs_keep_every_claim(tmp_path: Path) -> None:
    logs = {"big.log": mirc(), "one/chat.log": irssi(), "two/chat.log": weechat()}
    for name, (content, _) in logs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "junk.bin").write_bytes(random.Random(5).randbytes(50_000))
    good, junk = await asyncio.gather(
        headless(*(tmp_path / name for name in logs)), headless(tmp_path / "empty.log", tmp_path / "junk.bin")
    )
    told = only_json(good)
    assert told["messages"] == sum(messages for _, messages in logs.values())
    account = told["input"]
    assert isinstance(account, dict)
    assert account["conversations"] == 3
    assert account["empty"] == 2
    assert account["skipped"] >= 2
    (refused,) = account["refused"]
    assert (refused["nick"], refused["bytes"], refused["reason"]) == ("nick1|away", LONG, "too_long")
    assert refused["file"].endswith("big.log")
    assert "a message of nick1|away is refused: 16,385 bytes, over 16,384 bytes" in good.err
    told = only_json(junk)
    assert told["messages"] == 0
    account = told["input"]
    assert isinstance(account, dict)
    assert account["conversations"] == 2
    assert account["skipped"] == account["lines"] > 100
    assert "· empty: 0 lines, 0 messages of 0 people\n" in junk.err
    assert f"· junk: {account['lines']} lines, 0 messages of 0 people, {account['lines']} of no known form" in junk.err


async def test_a_log_that_can_not_be_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.log", "No such file"), (tmp_path, "Is a directory")):
        found = await planb("demo", "--headless", "--json", "--input", str(path))
        assert found.code == 2
        assert str(path) in found.err and reason in found.err
        assert found.json["ok"] is False


async def test_ctrl_c_ends_a_demo_that_waits_for_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "silent.log"
    os.mkfifo(pipe)
    demo = await planb_process("demo", "--headless", "--json", "--input", str(pipe))
    with await asyncio.to_thread(pipe.open, "wb"):  # returns when the demo has opened it
        demo.send_signal(signal.SIGINT)
        ended = await finished(demo, END_S_MAX)
    assert (ended.code, ended.out, ended.err) == (130, "", "")

"""The event log on a Valkey (or Redis >= 7.0) server of its own, with `appendfsync always`: the embedded default.

A lane is a stream with the ids `seq-0`. Every write is one call of a function (planb_log.lua) that compares owner and
end first and writes all or nothing; a pipeline of XADDs would be no fence. An answer comes after the sync, so an
answered call is durable. Layout, under the prefix: `tops` (hash, lane -> `seq|id|hash`), `lane:N` (stream),
`owners:N` (list, the present one first, empty once retired).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from hiredis import ReplyError

from core.errors import ConfigError, Corrupt, Forked, LaneLost, LogUnavailable, OutcomeUnknown
from core.ids import earlier_lives
from core.limits import LOG_CONNECTIONS_MAX, LOG_TAIL_TRUST_MS
from events.adapters.following import Ends
from events.adapters.tail import Tail
from events.adapters.valkey_wire import Command, NotSent, Unanswered, Wire
from events.ports import Top, Trimmed
from events.record import GENESIS, Record, check_lane, decode, dense_by_lane, encode

_LIBRARY = "planb_log_3"
_REFUSALS = {"OOM", "MISCONF", "READONLY", "BUSY", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "NOPERM"}
"""Error replies that a server gives instead of running a command."""
_EMPTY = Top(0, 0, GENESIS)
DURABLE = {
    b"appendonly": b"yes",
    b"appendfsync": b"always",
    b"no-appendfsync-on-rewrite": b"no",
    b"maxmemory-policy": b"noeviction",
}
"""What a server's settings have to be."""


@cache
def _source() -> str:
    return files("events.adapters").joinpath("planb_log.lua").read_text("utf-8")


class ValkeyLog:
    """An `EventLog`. Made by `connect`."""

    def __init__(self, url: str, *, prefix: str = "{log}", connect_s: float = 1.0, answer_s: float = 2.0) -> None:
        """`url` as redis-py's; `prefix` of all keys, in braces so that a cluster keeps them together. `connect_s`
        bounds connecting, `answer_s` an answer (seconds)."""
        self._wire = Wire(url, connections_max=LOG_CONNECTIONS_MAX, connect_s=connect_s, answer_s=answer_s)
        self._tops = f"{prefix}:tops"
        self._lane = f"{prefix}:lane:"
        self._owners = f"{prefix}:owners:"
        self._tail = Tail()
        self._tail_until = 0.0
        """Loop time until which the tail is given out: it was held against the log a moment ago."""
        self._ends = Ends()
        """The ends of all lanes as a follower last saw them, with what was written here since."""
        self._writes = 0
        self._written: dict[int, int] = {}
        """Lane -> the number of our last write to it."""

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        prefix: str = "{log}",
        connect_s: float = 1.0,
        answer_s: float = 2.0,
        require_sync: bool = True,
    ) -> "ValkeyLog":
        """Loads the functions and makes sure that the server syncs every write before it answers.

        Raises LogUnavailable, or ConfigError for a server that could lose what it answered (`require_sync=False`
        takes it all the same: tests, and servers whose CONFIG is closed to us).
        """
        log = cls(url, prefix=prefix, connect_s=connect_s, answer_s=answer_s)
        try:
            if require_sync:
                await log._check_durability()
            await log._load()
        except BaseException:
            await log.close()
            raise
        return log

    async def open(self, lane: int, owner: bytes) -> Top:
        (known,) = await self._ask(("HKEYS", self._tops))
        retired = [f"{self._owners}{earlier}" for earlier in earlier_lives(lane, map(int, known))]
        answer = await self._call("open", [self._tops, f"{self._owners}{lane}", *retired], [lane, owner])
        if answer == b"lost":
            raise LaneLost(private=f"lane {lane} was taken over from this owner, or retired")
        return _read_top(answer)

    async def append(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        if not records:
            return
        check_lane(lane, records)
        keys = [self._tops, f"{self._owners}{lane}", f"{self._lane}{lane}"]
        found = _judge(await self._call("append", keys, [owner, *_arguments(lane, records)]))
        self._note({lane: records}, found)

    async def store(self, records: Sequence[Record]) -> None:
        lanes = dense_by_lane(records)
        if not lanes:
            return
        keys = [self._tops]
        arguments: list[str | bytes | int] = []
        for lane, group in lanes.items():
            keys += [f"{self._owners}{lane}", f"{self._lane}{lane}"]
            arguments += _arguments(lane, group)
        self._note(lanes, _judge(await self._call("store", keys, arguments)))

    async def seed(self, tops: Mapping[int, Top]) -> None:
        arguments = [part for lane, top in tops.items() if top.seq for part in (lane, _write_top(top))]
        if arguments:
            _judge(await self._call("seed", [self._tops], arguments))

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        if asyncio.get_running_loop().time() < self._tail_until and (kept := self._tail.after(lane, after, limit)):
            return kept
        stream = f"{self._lane}{lane}"
        # The top first: records that come between the two commands are then more than expected, not fewer.
        top, entries = await self._ask(
            ("HGET", self._tops, lane), ("XRANGE", stream, f"{after + 1}-0", "+", "COUNT", limit)
        )
        if not entries:
            if _read_top(top).seq > after:
                raise Trimmed(lane, 0)
            return []
        records = [_read_record(lane, fields[1]) for _, fields in entries]
        if records[0].seq != after + 1:
            raise Trimmed(lane, records[0].seq)
        check_lane(lane, records)
        return records

    async def tops(self) -> dict[int, Top]:
        before = self._writes
        (answer,) = await self._ask(("HGETALL", self._tops))
        ends = _read_tops(answer)
        self._cut_tail(ends, before)
        return ends

    def follow(self) -> AsyncIterator[Mapping[int, Top]]:
        return self._ends.follow(self._look)

    def _note(self, written: Mapping[int, Sequence[Record]], found: Sequence[int]) -> None:
        """Followers learn of our own writes, and of what was written, without asking the server. `found`: where each
        lane ended before."""
        self._writes += 1
        for (lane, records), end in zip(written.items(), found, strict=True):
            top = Top.of(records[-1])
            if top.seq < end:  # a repeat, maybe of what was trimmed: nobody could compare it
                continue
            if fresh := records[max(0, end + 1 - records[0].seq) :]:
                self._tail.add(lane, fresh)
            self._written[lane] = self._writes
            if top.seq >= self._ends.tops.get(lane, top).seq:  # answers may overtake each other
                self._ends.tops[lane] = top
        self._ends.changed()

    async def _look(self) -> None:
        """Sees what other processes have written and trimmed. Our own writes of meanwhile may be newer than the
        answer."""
        before, begun = self._writes, asyncio.get_running_loop().time()
        spans = self._tail.spans()
        oldest = (
            ("XRANGE", f"{self._lane}{lane}", f"{first}-0", f"{last}-0", "COUNT", 1)
            for lane, (first, last) in spans.items()
        )
        tops, *found = await self._ask(("HGETALL", self._tops), *oldest)
        ends = _read_tops(tops)
        self._ends.tops = ends | {
            lane: self._ends.tops[lane] for lane, write in self._written.items() if write > before
        }
        self._cut_tail(ends, before)
        for lane, entries in zip(spans, found, strict=True):
            self._begin_tail(lane, entries)
        self._tail_until = begun + LOG_TAIL_TRUST_MS / 1000

    def _cut_tail(self, ends: Mapping[int, Top], before: int) -> None:
        """Nothing is kept that does not lie within the log as it was after our write number `before`. Lanes that we
        wrote to since then ended where the tail ends."""
        for lane in self._tail.spans():
            if self._written.get(lane, 0) <= before:
                self._tail.end(lane, ends.get(lane, _EMPTY))

    def _begin_tail(self, lane: int, entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        """`entries`: the oldest record of the tail that the log still has."""
        for place, (_, data) in entries:
            seq = int(place.partition(b"-")[0])
            kept = self._tail.after(lane, seq - 1, 1)
            if kept and encode(kept[0]) == data:
                self._tail.forget(lane, seq - 1)
                return
        self._tail.clear(lane)

    async def trim(self, lane: int, through: int) -> None:
        self._tail.forget(lane, through)
        await self._ask(("XTRIM", f"{self._lane}{lane}", "MINID", f"{through + 1}-0"))

    async def close(self) -> None:
        await self._wire.close()

    async def _call(self, function: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """One function call that may write."""
        command = ("FCALL", f"planb_log_{function}_3", len(keys), *keys, *arguments)
        answer = await self._send(command)
        if isinstance(answer, ReplyError) and "Function not found" in str(answer):
            await self._load()  # the server came back without its functions
            answer = await self._send(command)
        return _unless_error(answer)

    async def _send(self, command: Command) -> Any:
        try:
            (answer,) = await self._wire.ask(command)
        except NotSent as error:
            raise LogUnavailable(private=str(error)) from error
        except Unanswered as error:
            raise OutcomeUnknown(private=str(error)) from error
        return answer

    async def _ask(self, *commands: Command) -> list[Any]:
        """Commands that only read, or that may be repeated at will."""
        try:
            answers = await self._wire.ask(*commands)
        except (NotSent, Unanswered) as error:
            raise LogUnavailable("The event log is not reachable", private=str(error)) from error
        return [_unless_error(answer) for answer in answers]

    async def _load(self) -> None:
        # Looked at first, because a server that is out of memory refuses to load but can still be read.
        (found,) = await self._ask(("FUNCTION", "LIST", "LIBRARYNAME", _LIBRARY, "WITHCODE"))
        if not any(_source().encode() in library for library in found):
            await self._ask(("FUNCTION", "LOAD", "REPLACE", _source()))

    async def _check_durability(self) -> None:
        try:
            (answer,) = await self._ask(("CONFIG", "GET", *DURABLE))
        except Corrupt as error:
            raise ConfigError("the log server does not show its settings", private=error.private) from error
        wrong = not_durable(dict(zip(answer[::2], answer[1::2], strict=True)))
        if wrong:
            needs = ", ".join(f"{name.decode()} {DURABLE[name].decode()}" for name in wrong)
            raise ConfigError(f"the log server could lose what it answered; it needs: {needs}")


def not_durable(found: Mapping[bytes, bytes]) -> list[bytes]:
    """The settings of a server with which it could lose what it answered."""
    return [name for name, value in DURABLE.items() if found.get(name) != value]


def _unless_error(answer: Any) -> Any:
    if not isinstance(answer, ReplyError):
        return answer
    if str(answer).split(" ", 1)[0] in _REFUSALS:
        raise LogUnavailable(private=str(answer))
    # Nothing we send is wrong on a sound server: a key of another type, a stream beyond its top. Stop and look.
    raise Corrupt("the log server holds something unexpected", private=str(answer))


def _judge(answer: bytes) -> list[int]:
    """Raises what a function's answer means, see planb_log.lua; else the seqs where the lanes ended before."""
    if answer.startswith(b"ok"):
        return [int(seq) for seq in answer.split(b" ")[1:]]
    if answer == b"lost":
        raise LaneLost
    why, lane, seq = answer.decode().split(" ")
    if why == "owned":
        raise Corrupt(f"lane {lane} is written here", private="store is for foreign lanes")
    if why == "forked":
        raise Forked(f"lane {lane} has another record at seq {seq}")
    raise Corrupt(f"lane {lane} has a gap: it ends at seq {seq} here")


def _arguments(lane: int, records: Sequence[Record]) -> list[str | bytes | int]:
    top = _write_top(Top.of(records[-1]))
    return [lane, records[0].seq, len(records), top, *(encode(record) for record in records)]


def _write_top(top: Top) -> str:
    return f"{top.seq}|{top.id:019d}|{top.hash.hex()}"


def _read_top(text: bytes | None) -> Top:
    if not text:
        return _EMPTY
    seq, id, digest = text.decode().split("|")
    return Top(int(seq), int(id), bytes.fromhex(digest))


def _read_tops(answer: list[bytes]) -> dict[int, Top]:
    return {int(lane): _read_top(top) for lane, top in zip(answer[::2], answer[1::2], strict=True)}


def _read_record(lane: int, data: bytes) -> Record:
    record, end = decode(data)
    if end != len(data) or record.lane != lane:
        raise Corrupt(f"lane {lane} holds something that is not its record")
    return record

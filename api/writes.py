"""One write, from request fields to answer: validate, find an earlier answer, resolve, commit.

A key belongs to one intention: the same (actor, key) with the same request gets the same answer, wherever its event
was applied; with another request it is refused. Between two datacenters, or before an event is applied, a retry may
become a second event; it is accepted everywhere as an alias of the first (docs/semantics.md).
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

import pydantic

from api.problems import of_validation
from api.tokens import Caller
from core import limits
from core.action import Action, Origin, Position, View
from core.errors import KeyReused, OutcomeUnknown
from core.event import Event
from core.ids import lane_of
from core.system import Clock, Entropy
from core.tables import canonical
from stores.ports import Result
from stores.progress import Progress

_KEY_BYTES = 16
_FINGERPRINT_BYTES = 8


class LaneWriter(Protocol):
    """The one writer of this process's lane (events/lane_writer.py)."""

    async def commit(self, action: str, version: int, actor: str, key: str, fingerprint: bytes, args: Any) -> Event:
        """Takes an id, appends the event durably and applies it; returns it then. Calls reach the log in the order
        in which they are started."""
        ...


class RemoteDurability(Protocol):
    """What is known of the other DCs (replicator/remote.py)."""

    async def wait(self, lane: int, seq: int, timeout_s: float) -> bool:
        """True once another DC holds the lane durably through `seq`; False when that is not so within `timeout_s`,
        at once where no other DC can be reached. Never raises."""
        ...


class Results(Protocol):
    async def result(self, actor: str, key: str) -> Result | None: ...


class Answer(NamedTuple):
    id: int
    """The event."""
    body: dict[str, Any]
    status: int
    durability: str
    """What was reached: "local" or "remote"."""
    replayed: bool
    """An earlier call under this key did it."""


class _Done(NamedTuple):
    id: int
    body: dict[str, Any]


class _Running(NamedTuple):
    fingerprint: bytes
    done: "asyncio.Future[_Done]"


class Writes:
    """The write path of one process."""

    def __init__(
        self,
        *,
        dc: str,
        lane_writer: LaneWriter,
        view: View,
        results: Results,
        progress: Progress,
        remote: RemoteDurability,
        wall: Clock,
        entropy: Entropy,
    ) -> None:
        self._dc = dc
        self._lane_writer = lane_writer
        self._view = view
        self._results = results
        self._progress = progress
        self._remote = remote
        self._wall = wall
        self._entropy = entropy
        self._running: dict[tuple[str, str], _Running] = {}

    async def submit(
        self,
        action: type[Action],
        fields: Mapping[str, Any],
        caller: Caller,
        key: str = "",
        prefer: str = "",
        position: Position | None = None,
    ) -> Answer:
        """Does it and answers {"id": "<digits>", …}, or raises an error of core.errors.

        `fields` are path, query and body together. Without a `key` one is made, and a repetition is a second write.
        `prefer` is "", "local" or "remote".
        """
        return await (await self.begin(action, fields, caller, key, prefer, position))

    async def begin(
        self,
        action: type[Action],
        fields: Mapping[str, Any],
        caller: Caller,
        key: str = "",
        prefer: str = "",
        position: Position | None = None,
    ) -> Coroutine[Any, Any, Answer]:
        """The first half of `submit`: everything that can refuse the write. Start what it returns at once: writes
        reach the log in the order in which they are started."""
        try:
            request = action.Request.model_validate(fields)
        except pydantic.ValidationError as error:
            raise of_validation(error) from error
        want = prefer or action.durability
        mark = _fingerprint(action.name, fields)
        if not key:
            key = self._entropy(_KEY_BYTES).hex()
            args = await self._resolve(action, request, caller, key, position)
            return self._finish(self._commit(action, caller.user, key, mark, args), want, False)
        slot = (caller.user, key)
        running = self._running.get(slot)
        if running is not None:
            _same(running.fingerprint, mark)
            return self._finish(asyncio.shield(running.done), want, True)
        done: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self._running[slot] = _Running(mark, done)
        try:
            found = await self._results.result(*slot)
            if found is not None:
                _same(found.fingerprint, mark)
                earlier = _Done(found.event, {"id": str(found.event), **found.answer})
                self._settle(slot, earlier)
                return self._finish(done, want, True)
            args = await self._resolve(action, request, caller, key, position)
        except BaseException as error:
            self._settle(slot, error)
            raise
        return self._finish(self._lead(slot, self._commit(action, caller.user, key, mark, args)), want, False)

    async def _resolve(
        self, action: type[Action], request: Any, caller: Caller, key: str, position: Position | None
    ) -> Any:
        origin = Origin(caller.user, key, self._dc, self._wall(), self._view, self._entropy, position, caller.session)
        return await action.resolve(request, origin)

    async def _commit(self, action: type[Action], actor: str, key: str, mark: bytes, args: Any) -> _Done:
        event = await self._lane_writer.commit(action.name, action.version, actor, key, mark, args)
        return _Done(event.id, {"id": str(event.id), **action.result(event)})

    async def _lead(self, slot: tuple[str, str], commit: Coroutine[Any, Any, _Done]) -> _Done:
        try:
            done = await commit
        except BaseException as error:
            self._settle(slot, error)
            raise
        self._settle(slot, done)
        return done

    def _settle(self, slot: tuple[str, str], outcome: "_Done | BaseException") -> None:
        """Tells those who came with the same key meanwhile."""
        future = self._running.pop(slot).done
        if isinstance(outcome, _Done):
            future.set_result(outcome)
            return
        # A cancelled leader leaves the outcome open; the others must not be cancelled with it.
        future.set_exception(outcome if isinstance(outcome, Exception) else OutcomeUnknown())
        future.exception()  # nobody may be waiting

    async def _finish(self, done: Any, want: str, replayed: bool) -> Answer:
        id, body = await done
        reached = "local"
        if want == "remote" and await self._is_remote(id):
            reached = "remote"
        return Answer(id, body, 200, reached, replayed)

    async def _is_remote(self, id: int) -> bool:
        """The event is applied, so the lane's applied seq here is not before it."""
        lane = lane_of(id)
        applied = self._progress.applied.get(lane)
        if applied is None:
            return False
        return await self._remote.wait(lane, applied.seq, limits.DURABILITY_WAIT_MS_MAX / 1000)


def _fingerprint(action: str, fields: Mapping[str, Any]) -> bytes:
    """8 bytes of BLAKE2b over the action's name and the canonical JSON of the request."""
    return hashlib.blake2b(action.encode() + b"\0" + canonical(fields), digest_size=_FINGERPRINT_BYTES).digest()


def _same(known: bytes, now: bytes) -> None:
    if known != now:
        raise KeyReused()

"""One write, from request fields to answer: validate, find an earlier answer, resolve, commit.

A key belongs to one intention: the same (actor, key) with the same request gets the same answer, wherever its event
was applied; with another request it is refused. Between two datacenters, or before an event is applied, a retry may
become a second event; it is accepted everywhere as an alias of the first (docs/semantics.md).
"""

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import pydantic

from api.intentions import Done, Running, Slot, fingerprint, fingerprint_key, require_same
from api.links import Links
from api.problems import of_validation
from api.tokens import Caller
from api.turns import Turns
from core import limits
from core.action import Action, Origin, Position, View
from core.errors import OutcomeUnknown, PlanBError
from core.event import Event
from core.ids import lane_of
from core.system import Clock, Entropy
from events.lane_batch import Write
from stores.ports import Result
from stores.progress import Progress


class LaneWriter(Protocol):
    """The one writer of this process's lane (events/lane_writer.py)."""

    async def commit(self, action: str, version: int, actor: str, key: str, fingerprint: bytes, args: Any) -> Event:
        """Takes an id, appends the event durably and applies it; returns it then. Calls reach the log in the order
        in which they are started."""
        ...

    async def commit_many(self, writes: Sequence[Write]) -> list[Event]:
        """Several writes in one append: all of them or none."""
        ...

    async def commit_each(self, writes: Sequence[Write]) -> list[Event | PlanBError]:
        """As so many calls of `commit` at one time, in this order: an outcome for each."""
        ...


class RemoteDurability(Protocol):
    """What is known of the other DCs (replicator/remote.py)."""

    async def wait(self, lane: int, seq: int, timeout_s: float) -> bool:
        """True once another DC holds the lane durably through `seq`; False when that is not so within `timeout_s`,
        at once where no other DC can be reached. Never raises."""
        ...


class Results(Protocol):
    async def result(self, actor: str, key: str) -> Result | None: ...


class ResultsAtHand(Results, Protocol):
    async def results_of(self, asked: Sequence[tuple[str, str]]) -> list[Result | None]: ...


class Answer(msgspec.Struct, frozen=True, gc=False):
    id: int
    """The event."""
    body: dict[str, Any]
    status: int
    durability: str
    """What was reached: "local" or "remote"."""
    replayed: bool
    """An earlier call under this key did it."""


class Writes:
    """The write path of one process."""

    def __init__(
        self,
        *,
        dc: str,
        lane_writer: LaneWriter,
        view: View,
        at_hand: View,
        results: ResultsAtHand,
        stored: Results,
        progress: Progress,
        remote: RemoteDurability,
        wall: Clock,
        entropy: Entropy,
        secret: bytes,
    ) -> None:
        """`at_hand` is what `view` knows without asking a store (stores/at_hand.py). `results` are at hand too, of each
        user the newest. `stored` are all of a day but messages': slower to be asked. `secret` is shared by all DCs:
        what one takes for a retry, all do."""
        self.lane_writer = lane_writer
        self.results = results
        self._stored = stored
        self.running: dict[Slot, Running] = {}
        """What is under way in this process."""
        self._dc = dc
        self._view = view
        self._at_hand = at_hand
        self._progress = progress
        self._remote = remote
        self._wall = wall
        self._entropy = entropy
        self.turns = Turns()
        self.links = Links(secret)
        self._fingerprint_key = fingerprint_key(secret)

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

        `fields` are path, query and body together. Without a `key` a repetition is a second write.
        `prefer` is "", "local" or "remote". Writes reach the log in the order in which they are started.
        """
        request = validated(action, fields)
        mark = self.mark(action, fields)
        replayed = False
        if not key:
            done = await self._write(action, request, caller, key, mark, position)
        elif (running := self.running.get((caller.user, key))) is not None:
            require_same(running.fingerprint, mark)
            done, replayed = await running.outcome(), True
        else:
            done, replayed = await self._lead(action, request, caller, key, mark, position)
        remote = (prefer or action.durability) == "remote" and await self.is_remote(lane_of(done.id))
        return Answer(done.id, done.body, 200, "remote" if remote else "local", replayed)

    def mark(self, action: type[Action], fields: Mapping[str, Any]) -> bytes:
        """The request's fingerprint: tells a retry from a key that is used again."""
        return fingerprint(self._fingerprint_key, action.name, fields)

    def resolve(
        self, action: type[Action], request: Any, caller: Caller, key: str, mark: bytes, position: Position | None
    ) -> Awaitable[Any]:
        """The action's `Args`, as this DC knows things now."""
        origin = Origin(
            caller.user,
            key,
            self._dc,
            self._wall(),
            self._view,
            self._entropy,
            position,
            caller.session,
            self._progress.v,
            mark,
            self.links.opened,
        )
        return action.resolve(request, origin)

    def resolve_at_hand(
        self,
        action: type[Action],
        request: Any,
        caller: Caller,
        key: str,
        mark: bytes,
        position: Position | None,
        now_ms: int,
    ) -> Coroutine[Any, Any, Any]:
        """The same from what is at hand; NotAtHand where that is not enough."""
        view, v = self._at_hand, self._progress.v
        opened = self.links.opened
        origin = Origin(
            caller.user, key, self._dc, now_ms, view, self._entropy, position, caller.session, v, mark, opened
        )
        return action.resolve(request, origin)

    async def is_remote(self, lane: int) -> bool:
        """Whether another DC holds, soon enough, all that is applied of this lane now."""
        applied = self._progress.applied.get(lane)
        if applied is None:
            return False
        return await self._remote.wait(lane, applied.seq, limits.DURABILITY_WAIT_MS_MAX / 1000)

    async def _lead(
        self, action: type[Action], request: Any, caller: Caller, key: str, mark: bytes, position: Position | None
    ) -> tuple[Done, bool]:
        """The first to come with this key in this process; and whether it had been done before."""
        slot = (caller.user, key)
        running = self.running[slot] = Running(mark)
        try:
            found = await self.results.result(caller.user, key)
            if found is None and action.makes_once:
                found = await self._stored.result(caller.user, key)
            if found is None:
                done = await self._write(action, request, caller, key, mark, position)
            else:
                done = earlier(found, mark)
        except BaseException as error:
            del self.running[slot]
            running.settle(error)
            raise
        del self.running[slot]
        running.settle(done)
        return done, found is not None

    def _write(
        self, action: type[Action], request: Any, caller: Caller, key: str, mark: bytes, position: Position | None
    ) -> Coroutine[Any, Any, Done]:
        done = self._commit(action, request, caller, key, mark, position)
        turn = action.turn(request)
        return self._in_turn(turn, done) if turn else done

    async def _in_turn(self, turn: str, done: Coroutine[Any, Any, Done]) -> Done:
        try:
            async with self.turns.of(turn):
                return await done
        finally:
            done.close()  # cancelled while it waited: never begun

    async def _commit(
        self, action: type[Action], request: Any, caller: Caller, key: str, mark: bytes, position: Position | None
    ) -> Done:
        try:
            args = await self.resolve(action, request, caller, key, mark, position)
            event = await self.lane_writer.commit(action.name, action.version, caller.user, key, mark, args)
        except OutcomeUnknown:
            raise
        except Exception:
            action.forgo(request, self._view)
            raise
        return done_by(action, event)


def validated(action: type[Action], fields: Mapping[str, Any]) -> Any:
    """The action's `Request`. Invalid names the fields that are wrong."""
    try:
        return action.Request.model_validate(fields)
    except pydantic.ValidationError as error:
        raise of_validation(error) from error


def done_by(action: type[Action], event: Event) -> Done:
    """What a committed event answers."""
    return Done(event.id, {"id": str(event.id), **action.result(event)})


def earlier(found: Result, mark: bytes) -> Done:
    """What a key answered before. KeyReused where it did something else."""
    require_same(found.fingerprint, mark)
    return Done(found.event, {"id": str(found.event), **found.answer})

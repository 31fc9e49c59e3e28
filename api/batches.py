"""Several writes of one caller in one request, in their order, also when some of them fail.

Refusals that stay (4xx) are told for each item and stop nothing. The first problem that may pass (503 and the like)
is the outcome of every later item too, and none of those is tried: the client repeats them, in order, under their
keys. Were a later one written although an earlier one has to be repeated, the caller's messages would change places.

What is to be written goes into the log as one group: all of it or nothing. A key that another request is working on
splits the batch: what stands before it is written first, then that request is waited for. So nobody holds keys while
he waits for somebody else's, and two batches can't wait for each other.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from api.intentions import Done, Running, Slot, require_same
from api.problems import retry_after_s
from api.tokens import Caller
from api.writes import Answer, Writes, done_by, earlier, validated
from core.action import Action, Position
from core.errors import OutcomeUnknown, PlanBError, StoreUnavailable
from core.ids import lane_of
from events.lane_batch import Write
from stores.ports import EpochLost, Result

Outcome = Done | PlanBError
Judge = Callable[[PlanBError], PlanBError]
"""What a caller is told for an error of `resolve`."""


class Item(NamedTuple):
    fields: dict[str, Any]
    key: str
    """"" for one without."""


class _Wanted(NamedTuple):
    """An item that this stretch has to see to."""

    at: int
    request: Any
    key: str
    mark: bytes


class Batch:
    """One request's items; `run` it once."""

    def __init__(
        self,
        writes: Writes,
        action: type[Action],
        caller: Caller,
        position: Position | None,
        items: Sequence[Item | PlanBError],
        judge: Judge,
    ) -> None:
        """An item that is an error was refused before."""
        self._writes = writes
        self._action = action
        self._caller = caller
        self._position = position
        self._items = items
        self._judge = judge
        self._outcomes: list[Outcome | None] = [None] * len(items)
        self._held: dict[Slot, tuple[Running, int]] = {}
        """The keys that this batch is working on, and for which item."""

    async def run(self, prefer: str) -> list[Answer | PlanBError]:
        """An outcome per item, in order. `prefer` as in `Writes.submit`."""
        try:
            at = 0
            while at < len(self._items) and self._passing() is None:
                at = await self._stretch(at)
        finally:
            self._let_go(lambda _: OutcomeUnknown())  # something unforeseen, or cancelled: nothing else leaves any
        return await self._answers(prefer)

    # -- one stretch: all items up to a key that another request is working on

    async def _stretch(self, begin: int) -> int:
        """Sees to the items from `begin` on; where the next stretch begins."""
        wanted, twins, end = self._collect(begin)
        if end == begin:
            await self._join(end)
            return end + 1
        await self._write(wanted)
        for at, first in twins:
            self._outcomes[at] = self._outcomes[first]
        # What was not reached, because something failed before it, fails as that did.
        passing = self._passing() or OutcomeUnknown()
        self._let_go(lambda at: self._outcomes[at] or passing)
        return end

    def _collect(self, begin: int) -> tuple[list[_Wanted], list[tuple[int, int]], int]:
        """Validates, and takes the keys. No await in here: the keys of a stretch are taken at once.

        What is wanted, items that repeat an earlier one of this stretch, and where the stretch ends.
        """
        wanted: list[_Wanted] = []
        twins: list[tuple[int, int]] = []
        for at in range(begin, len(self._items)):
            item = self._items[at]
            try:
                if isinstance(item, PlanBError):
                    raise item
                request = validated(self._action, item.fields)
                mark = self._writes.mark(self._action, item.fields)
                slot = (self._caller.user, item.key)
                if item.key and (held := self._held.get(slot)) is not None:
                    require_same(held[0].fingerprint, mark)
                    twins.append((at, held[1]))
                    continue
            except PlanBError as error:
                self._outcomes[at] = error
                continue
            if item.key and slot in self._writes.running:
                return wanted, twins, at
            if item.key:
                running = self._writes.running[slot] = Running(mark)
                self._held[slot] = (running, at)
            wanted.append(_Wanted(at, request, item.key, mark))
        return wanted, twins, len(self._items)

    async def _write(self, wanted: Sequence[_Wanted]) -> None:
        """Up to the first problem that may pass: earlier answers, refusals, and one commit of the rest."""
        results = await self._earlier(wanted)
        writes: list[tuple[int, Write]] = []
        for one in wanted:
            try:
                found = results.get(one.at)
                if isinstance(found, Exception):
                    raise found
                if found is not None:
                    self._outcomes[one.at] = earlier(found, one.mark)
                    continue
                action, caller = self._action, self._caller
                args = await self._writes.resolve(action, one.request, caller, one.key, one.mark, self._position)
            except (PlanBError, EpochLost) as error:
                judged = self._outcomes[one.at] = self._judge(_ours(error))
                if _passes(judged):
                    break
            else:
                write = Write(action.name, action.version, caller.user, one.key, one.mark, args)
                writes.append((one.at, write))
        await self._commit(writes)

    async def _earlier(self, wanted: Sequence[_Wanted]) -> dict[int, Result | Exception | None]:
        """What earlier calls under the same keys answered, asked for together: an error is that of all."""
        keyed = [one for one in wanted if one.key]
        if not keyed:
            return {}
        found: Sequence[Result | Exception | None]
        try:
            found = await self._writes.results.results_of([(self._caller.user, one.key) for one in keyed])
        except Exception as error:
            found = [error] * len(keyed)
        return {one.at: result for one, result in zip(keyed, found, strict=True)}

    async def _commit(self, writes: Sequence[tuple[int, Write]]) -> None:
        if not writes:
            return
        try:
            events = await self._writes.lane_writer.commit_many([write for _, write in writes])
        except PlanBError as error:
            for at, _ in writes:
                self._outcomes[at] = error
        else:
            for (at, _), event in zip(writes, events, strict=True):
                self._outcomes[at] = done_by(self._action, event)

    async def _join(self, at: int) -> None:
        """Another request is working on this item's key; nothing is held here."""
        item = self._items[at]
        assert isinstance(item, Item), "only an item has a key"
        running = self._writes.running[self._caller.user, item.key]
        try:
            require_same(running.fingerprint, self._writes.mark(self._action, item.fields))
            self._outcomes[at] = await running.outcome()
        except (PlanBError, EpochLost) as error:
            self._outcomes[at] = self._judge(_ours(error))

    # -- outcomes

    def _passing(self) -> PlanBError | None:
        """The first problem that may pass."""
        for outcome in self._outcomes:
            if isinstance(outcome, PlanBError) and _passes(outcome):
                return outcome
        return None

    def _let_go(self, outcome: Callable[[int], Outcome]) -> None:
        """Gives the keys back, and tells those who came with one of them what became of its item."""
        held, self._held = self._held, {}
        for slot, (running, at) in held.items():
            del self._writes.running[slot]
            running.settle(outcome(at))

    async def _answers(self, prefer: str) -> list[Answer | PlanBError]:
        passing: PlanBError | None = None
        answered: list[Done | PlanBError] = []
        for outcome in self._outcomes:
            if passing is None and isinstance(outcome, PlanBError) and _passes(outcome):
                passing = outcome
            assert passing is not None or outcome is not None, "only what follows a problem is not tried"
            answered.append(passing if passing is not None else outcome)  # type: ignore[arg-type]  # just asserted
        lanes = {lane_of(one.id) for one in answered if isinstance(one, Done)}
        remote: set[int] = set()
        if (prefer or self._action.durability) == "remote":
            reached = await asyncio.gather(*(self._writes.is_remote(lane) for lane in lanes))
            remote = {lane for lane, there in zip(lanes, reached, strict=True) if there}
        return [
            Answer(one.id, one.body, 200, "remote" if lane_of(one.id) in remote else "local", False)
            if isinstance(one, Done)
            else one
            for one in answered
        ]


def _passes(error: PlanBError) -> bool:
    """The same request may succeed later."""
    return retry_after_s(error) is not None


def _ours(error: PlanBError | EpochLost) -> PlanBError:
    if isinstance(error, EpochLost):
        return StoreUnavailable("hot state is being rebuilt", retry_after_s=1)
    return error

"""Single writes that came at one time, of whatever callers, done in one go; each has the outcome that it has alone.

What a request costs beside its own work is its task, its waits and its place in the log's queue. Requests that come in
one tick of the loop share them: one look for the earlier answers of all keys, one commit.

Only what needs no more than is at hand is done so. Everything else is done alone, by `Writes.submit`: a caller or a
recipient whose row has to be read first, a key that is being worked on, a wish for remote durability. So nobody waits
for another one's reads.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import msgspec

from api.intentions import Done, Running
from api.tokens import Caller
from api.writes import Answer, Writes, done_by, earlier, validated
from core.action import Action, Position
from core.errors import OutcomeUnknown, PlanBError
from events.lane_batch import Write
from stores.at_hand import NotAtHand, at_once


def fits(action: type[Action]) -> bool:
    """Whether writes of this action never need more than `Together` does: no turn, no second look at its key, nothing
    to take back, no other datacenter's word."""
    return (
        action.turn is Action.turn
        and action.forgo is Action.forgo
        and not (action.makes_once or action.needs_position)
        and action.durability == "local"
    )


class Begun(msgspec.Struct, gc=False):
    """One write under way."""

    caller: Caller
    key: str
    mark: bytes
    args: Any
    """Or the error that `resolve` ended with."""
    running: Running | None
    """With a key: what others who bring it meanwhile wait for."""
    outcome: Done | Exception | None = None
    replayed: bool = False

    def answer(self) -> Answer:
        """As `Writes.submit` would have answered, or raised."""
        if isinstance(self.outcome, Done):
            return Answer(self.outcome.id, self.outcome.body, 200, "local", self.replayed)
        raise self.outcome or OutcomeUnknown()


class Together:
    """Writes of one action."""

    def __init__(self, writes: Writes, action: type[Action]) -> None:
        assert fits(action), action.name
        self._writes = writes
        self._action = action

    def begin(
        self, fields: Mapping[str, Any], caller: Caller, key: str, position: Position | None, now_ms: int
    ) -> Begun:
        """Up to where it waits. A key is taken: `finish` has to follow, before anything else is awaited.

        NotAtHand if it has to be done alone: nothing has happened. What `Writes.submit` raises, for a request that is
        refused whatever its key has answered before."""
        action, writes = self._action, self._writes
        request = validated(action, fields)
        mark = writes.mark(action, fields)
        if key and (caller.user, key) in writes.running:
            raise NotAtHand
        try:
            args = at_once(writes.resolve_at_hand(action, request, caller, key, mark, position, now_ms))
        except PlanBError as error:
            if not key:
                raise
            args = error  # unless the key has an earlier answer
        if not key:
            return Begun(caller, key, mark, args, None)
        running = writes.running[caller.user, key] = Running(mark)
        return Begun(caller, key, mark, args, running)

    async def finish(self, all_: Sequence[Begun]) -> None:
        """Each of them has its outcome then, whatever happens."""
        try:
            await self._earlier([one for one in all_ if one.key])
            await self._commit([one for one in all_ if one.outcome is None])
        finally:
            running = self._writes.running
            for one in all_:
                if one.running is not None:
                    del running[one.caller.user, one.key]
                    one.running.settle(one.outcome or OutcomeUnknown())

    async def _earlier(self, keyed: Sequence[Begun]) -> None:
        """What the keys answered before."""
        if not keyed:
            return
        try:
            results = await self._writes.results.results_of([(one.caller.user, one.key) for one in keyed])
        except Exception as error:
            for one in keyed:
                one.outcome = copy(error)
            return
        for one, found in zip(keyed, results, strict=True):
            if found is not None:
                try:
                    one.outcome = earlier(found, one.mark)
                    one.replayed = True
                except PlanBError as error:
                    one.outcome = error
            elif isinstance(one.args, PlanBError):
                one.outcome = one.args

    async def _commit(self, left: Sequence[Begun]) -> None:
        if not left:
            return
        action = self._action
        name, version = action.name, action.version
        writes = [Write(name, version, one.caller.user, one.key, one.mark, one.args) for one in left]
        try:
            events = await self._writes.lane_writer.commit_each(writes)
        except Exception as error:
            for one in left:
                one.outcome = copy(error)
            return
        for one, event in zip(left, events, strict=True):
            one.outcome = event if isinstance(event, PlanBError) else done_by(action, event)

"""Sends what is in the outbox, and sends again what a region turns out not to have."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from planb_sdk.errors import ApiError, Closed, PlanBError, Unauthenticated, Unreachable
from planb_sdk.model import Receipt
from planb_sdk.outbox import Outbox, Write
from planb_sdk.transport import AGAIN_CODES, Answer, Transport

log = logging.getLogger("planb_sdk")
Json = dict[str, Any]
BATCH_MAX = 100
KEPT_MAX = 1_000
"""Ids that the server answers for in one call."""
BATCH_AGAIN = AGAIN_CODES | {
    "unavailable",
    "log_unavailable",
    "outcome_unknown",
    "store_unavailable",
    "clock_refused",
    "overloaded",
    "not_serving",
    "lane_lost",
    "lease_lost",
    "too_many_requests",
}


class Writer:
    def __init__(self, transport: Transport, outbox: Outbox) -> None:
        self._transport = transport
        self.outbox = outbox
        self._settling: asyncio.Task[None] | None = None

    async def write(self, write: Write) -> Receipt:
        """Raises ApiError for a refusal; Unreachable leaves the write in the outbox, and so does cancelling: then it is
        sent in the background."""
        self.outbox.add(write)
        try:
            return await self._deliver(write)
        except Unauthenticated:
            raise  # another token may still send it
        except ApiError:
            self.outbox.refused(write)
            raise
        except (Unreachable, asyncio.CancelledError):
            self.resume()
            raise

    async def write_many(self, writes: Sequence[Write]) -> list[Receipt | ApiError]:
        """Messages in order, by the batch endpoint; each has its own outcome."""
        for write in writes:
            self.outbox.add(write)
        outcomes: dict[str, Receipt | ApiError] = {}
        try:
            for begin in range(0, len(writes), BATCH_MAX):
                await self._batch(writes[begin : begin + BATCH_MAX], outcomes)
        except (Unreachable, asyncio.CancelledError):
            self.resume()
            raise
        return [outcomes[write.key] for write in writes]

    def doubt(self) -> None:
        """What was acknowledged so far may be gone: finds out in the background, and sends again what is."""
        self.outbox.generation += 1
        self.resume()

    def resume(self) -> None:
        """Sends in the background what waits or is in doubt."""
        if len(self.outbox) and not self._transport.closed:
            self._settling = self._start()

    async def settled(self) -> None:
        """Returns when nothing waits and nothing is in doubt. Raises what keeps it so."""
        while self.outbox.waiting() or self.outbox.doubtful():
            await asyncio.shield(self._start())

    def _start(self) -> "asyncio.Task[None]":
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle(), name="planb outbox")
            self._settling.add_done_callback(_told)
        return self._settling

    async def close(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    # -- sending

    async def _deliver(self, write: Write) -> Receipt:
        write.busy = True
        try:
            answer = await self._transport.call(
                write.method,
                self.outbox.path(write),
                body=write.body,
                query=write.query or None,
                key=write.key,
                durability=write.durability,
            )
        finally:
            write.busy = False
        return self._acknowledged(write, answer)

    def _acknowledged(self, write: Write, answer: Answer) -> Receipt:
        applied = answer.headers.get("Preference-Applied", "")
        durability = applied.partition("durability=")[2] or str(answer.body.get("durability", "local"))
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        return self._receipt(write, answer.body, durability, replayed, answer.region)

    def _receipt(self, write: Write, body: Json, durability: str, replayed: bool, region: str) -> Receipt:
        receipt = Receipt(str(body["id"]), write.key, durability, replayed, body)
        self.outbox.acknowledged(write, receipt, region)
        return receipt

    async def _batch(self, writes: Sequence[Write], outcomes: dict[str, Receipt | ApiError]) -> None:
        """Repeats what failed for the moment; every message is sent under its own key."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._transport.options.give_up_s
        backoff = self._transport.backoff()
        left = list(writes)
        while left:
            left, problem = await self._batch_once(left, outcomes)
            if not left:
                return
            pause_s = backoff.pause_s(float(problem.get("retry_after_s", 0)))
            if loop.time() + pause_s > until:
                raise Unreachable(f"{len(left)} messages: {problem.get('code')}", left[0].key)
            self._transport.stats.retries += 1
            await asyncio.sleep(pause_s)

    async def _batch_once(
        self, writes: list[Write], outcomes: dict[str, Receipt | ApiError]
    ) -> tuple[list[Write], Json]:
        for write in writes:
            write.busy = True
        try:
            messages = [{"key": write.key, **(write.body or {})} for write in writes]
            answer = await self._transport.call("POST", "/v1/messages/batch", body={"messages": messages})
        finally:
            for write in writes:
                write.busy = False
        left: list[Write] = []
        why: Json = {}
        for write, result in zip(writes, answer.body["results"], strict=True):
            problem = result.get("problem")
            if problem is None:
                outcomes[write.key] = self._receipt(
                    write, result, str(result.get("durability", "local")), False, answer.region
                )
            elif problem.get("code") in BATCH_AGAIN:
                left.append(write)
                why = problem
            else:
                self.outbox.refused(write)
                outcomes[write.key] = ApiError(int(problem.get("status", 400)), problem)
        return left, why

    # -- settling

    async def _settle(self) -> None:
        """Until nothing waits and nothing is in doubt, whatever regions come and go meanwhile."""
        backoff = self._transport.backoff()
        while not self._transport.closed:
            try:
                await self._settle_once()
            except Unauthenticated:
                raise
            except Closed:
                return
            except PlanBError as error:
                log.info("the outbox waits: %s", error)
            if not (self.outbox.waiting() or self.outbox.doubtful()):
                return
            await asyncio.sleep(backoff.pause_s())

    async def _settle_once(self) -> None:
        generation, region = self.outbox.generation, self._transport.region
        lost = await self._uncovered(generation)
        if self.outbox.generation != generation:
            return
        wanted = lost | {write.key for write in self.outbox.waiting()}
        for write in self.outbox.ordered(wanted):
            if self.outbox.generation != generation or self._transport.region != region:
                return
            again = write.receipt is not None
            try:
                await self._deliver(write)
            except Unauthenticated:
                raise
            except ApiError as error:
                if error.code in AGAIN_CODES:
                    raise  # it has only not heard of something yet
                self.outbox.refused(write)
                self._transport.stats.refused += 1
                log.warning("a write is refused when sent again (%s): %s", write.path, error)
            else:
                self._transport.stats.resent += again

    async def _uncovered(self, generation: int) -> set[str]:
        """Keys of the doubtful writes that the region still lacks after `resend_after_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._transport.options.resend_after_s
        backoff = self._transport.backoff()
        while asked := {one.receipt.id: one for one in self.outbox.doubtful()[:KEPT_MAX] if one.receipt is not None}:
            answer = await self._transport.call("POST", "/v1/updates", body={"kept": list(asked)})
            if self.outbox.generation != generation:
                return set()
            missing = set(answer.body["uncovered"])
            self.outbox.settled((write for id, write in asked.items() if id not in missing), answer.region)
            if missing and loop.time() >= until:
                return {asked[id].key for id in missing}
            if missing:
                await asyncio.sleep(min(backoff.pause_s(), max(0.0, until - loop.time())))
        return set()


def _told(task: "asyncio.Task[None]") -> None:
    """A background task's failure is seen by whoever asks `settled`; here it is at least logged."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("the outbox can't be settled: %s", error)

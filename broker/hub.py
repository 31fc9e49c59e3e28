"""All connections of this process, and the one subscription that feeds them.

    listen   an announcement is decoded once; each update goes to its owner's connections, or to those of a supergroup
    beat     now and then: the epoch; for a share of the connections their leases, tokens, memberships and newest pts

A heartbeat shows pts that were read one tick before: what was announced meanwhile has left by then, so a client that
finds itself behind them has really missed something.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Iterable

from broker import frames
from broker.budget import Budget
from broker.connection import Connection
from broker.deps import BrokerDeps
from broker.frames import Close
from broker.places import Places
from core import limits
from core.errors import Corrupt, PlanBError, Unauthenticated
from core.membership import Membership
from stores.ports import EpochLost

log = logging.getLogger(__name__)

LISTEN_AGAIN_S = 0.2
DRAIN_SHARE = 200
"""Connections told to move at a time, so that not all of them knock at the next door at once."""
DRAIN_PAUSE_S = 0.05
VERIFIED_AT_A_TIME = 200
RELIEVED_AT_A_TIME = 64
MEMBERSHIP_TYPES = frozenset(("chat", "member"))


class Hub:
    """Made by `add_routes`; started and closed with the app."""

    def __init__(self, deps: BrokerDeps) -> None:
        self._deps = deps
        self._by_user: dict[str, set[Connection]] = {}
        self._by_channel: dict[str, set[Connection]] = {}
        self._by_session: dict[str, set[Connection]] = {}
        self._slots: list[set[Connection]] = [set() for _ in range(max(1, deps.heartbeat_s))]
        self._turn = 0
        self._due: list[tuple[Connection, dict[str, int]]] = []
        self._epoch: int | None = None
        self._look = asyncio.Event()
        self._doubted = False
        """A revocation may have been missed: all tokens are checked at the next look."""
        self._tasks: list[asyncio.Task[None]] = []
        self._counts: Counter[str] = Counter()
        self.budget = Budget(limits.STREAMS_BYTES_MAX, self._relieve)
        self.sockets = 0
        """Open websockets, those that have not said hello included."""
        self.places = Places()
        self.draining = False

    # -- life

    async def start(self) -> None:
        """Begins to listen; connections are taken from now on."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="broker listen"),
            asyncio.create_task(self._beat(), name="broker beat"),
        ]

    async def drain(self) -> None:
        """Takes no more connections and tells those that are here to move (4001); returns when they are told."""
        self.draining = True
        left = [one for all_ in list(self._by_user.values()) for one in all_]
        for begin in range(0, len(left), DRAIN_SHARE):
            for connection in left[begin : begin + DRAIN_SHARE]:
                connection.end(Close.MOVE, "move")
            await asyncio.sleep(DRAIN_PAUSE_S)

    async def close(self) -> None:
        """Drains, waits until nothing is left of the connections, and stops."""
        await self.drain()
        left = [one for all_ in list(self._by_user.values()) for one in all_]
        await asyncio.gather(*(connection.finish() for connection in left))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def metrics(self) -> dict[str, int]:
        """Counters since the start, and the gauges `connections` and `users`."""
        gauges = {"connections": sum(map(len, self._by_user.values())), "users": len(self._by_user)}
        return {
            **{name: self._counts[name] for name in COUNTERS},
            **gauges,
            "sockets": self.sockets,
            "waiting_bytes": self.budget.bytes,
        }

    def count(self, name: str, more: int = 1) -> None:
        self._counts[name] += more

    # -- who is here

    def hears(self, owner: str) -> bool:
        """Whether anybody here may be waiting for this owner's updates. Of a supergroup that can change within a
        batch: whoever joins hears of what came with it."""
        return owner in self._by_user or (frames.is_channel(owner) and bool(self._by_user))

    def add(self, connection: Connection) -> None:
        """From here on its user's updates are queued for it."""
        self._by_user.setdefault(connection.user, set()).add(connection)
        self._by_session.setdefault(connection.session, set()).add(connection)
        connection.slot = min(range(len(self._slots)), key=lambda slot: len(self._slots[slot]))
        self._slots[connection.slot].add(connection)
        self.count("opened")

    async def remove(self, connection: Connection) -> None:
        """Nothing of it stays; its presence lease is given up."""
        for index, key in ((self._by_user, connection.user), (self._by_session, connection.session)):
            _discard(index, key, connection)
        for channel in connection.channels:
            _discard(self._by_channel, channel, connection)
        self._slots[connection.slot].discard(connection)
        connection.outgoing.drop()
        self.count("frames", connection.frames)
        if connection.ended is not None:
            self.count(_ENDED.get(connection.ended[0], "closed_other"))
        await self._lease(connection, 0)

    async def refresh(self, connection: Connection) -> None:
        """Reads its user's memberships: supergroups joined since are heard from now on, those left no more.

        Reads of one connection may overlap; an older answer never replaces a newer one.
        """
        connection.memberships_asked += 1
        asked = connection.memberships_asked
        found: dict[str, Membership] = await self._deps.view.memberships_of(connection.user)
        if asked < connection.memberships_known or connection not in self._by_user.get(connection.user, ()):
            return
        connection.memberships_known = asked
        channels = frozenset(chat for chat, its in found.items() if frames.is_channel(chat) and its.present)
        for channel in connection.channels - channels:
            _discard(self._by_channel, channel, connection)
            connection.outgoing.forget(channel)
        for channel in channels - connection.channels:
            self._by_channel.setdefault(channel, set()).add(connection)
        connection.channels = channels

    # -- listen

    async def _listen(self) -> None:
        while True:
            try:
                async for frame in (self._deps.listen or self._deps.hot.listen)():
                    await self._heard(frame)
            except PlanBError as error:
                log.warning("the subscription to updates was lost: %s", error)
            except Exception:  # a defect must not leave everybody deaf
                log.exception("the subscription to updates failed")
            self._missed_some()
            await asyncio.sleep(LISTEN_AGAIN_S)

    def _missed_some(self) -> None:
        self.count("interrupted")
        self._resume(self._everyone(), "epoch")
        self._doubted = True
        self._look.set()

    async def _heard(self, frame: bytes) -> None:
        self.count("announcements")
        if not frame:  # the adapter had to connect again: something may have been missed
            self._missed_some()
            return
        try:
            heard = frames.announcement(frame)
            await self._membership_changes(heard)
        except Corrupt as error:
            # Clients find the hole by the next frame or heartbeat.
            self.count("corrupt")
            log.error("%s (%s)", error, error.private)
            return
        for session in heard.revoked:
            for connection in tuple(self._by_session.get(session, ())):
                connection.end(Close.REVOKED, "the session was revoked")
        for owner, pts, index in heard.deliveries:
            listeners = (self._by_channel if frames.is_channel(owner) else self._by_user).get(owner)
            if not listeners:
                continue
            if index is None:
                self.count("pokes", len(listeners))
                for connection in listeners:
                    connection.outgoing.poke(owner, pts)
            else:
                self._deliver(listeners, owner, pts, heard.updates[index])

    def _deliver(self, listeners: set[Connection], owner: str, pts: int, update: bytes) -> None:
        item = frames.item(owner, pts, update)
        for connection in listeners:
            if connection.ended is not None:
                continue
            if connection.outgoing.behind(owner, pts):
                self._look.set()
            elif connection.outgoing.update(owner, pts, item):
                self.count("deliveries")
            else:
                connection.end(Close.SLOW, "slow: resume")

    def _relieve(self) -> None:
        """Too much waits for all connections together: those for which most waits are told to resume."""
        while self.budget.bytes > self.budget.bytes_max * 3 // 4:
            here = (one for one in self._everyone() if one.ended is None and one.outgoing.size)
            greatest = heapq.nlargest(RELIEVED_AT_A_TIME, here, key=lambda one: one.outgoing.size)
            if not greatest:
                return
            for connection in greatest:
                connection.end(Close.SLOW, "slow: resume")
                if self.budget.bytes <= self.budget.bytes_max * 3 // 4:
                    return

    async def _membership_changes(self, heard: frames.Announcement) -> None:
        """Before anything is delivered: whoever was removed in this batch gets nothing more of the supergroup."""
        concerning: dict[int, bool] = {}
        concerned: set[str] = set()
        for owner, _, index in heard.deliveries:
            if owner not in self._by_user or owner in concerned:
                continue
            if index is not None and index not in concerning:
                concerning[index] = frames.type_of(heard.updates[index]) in MEMBERSHIP_TYPES
            if index is None or concerning[index]:
                concerned.add(owner)
        changed = [connection for user in concerned for connection in self._by_user.get(user, ())]
        if not changed:
            return
        outcomes = await asyncio.gather(*(self.refresh(one) for one in changed), return_exceptions=True)
        for connection, outcome in zip(changed, outcomes, strict=True):
            if isinstance(outcome, PlanBError):
                connection.end(Close.TRY_LATER, "memberships can't be read: resume")
            elif isinstance(outcome, BaseException):
                raise outcome

    # -- beat

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        tick = loop.time() + self._deps.tick_s
        while True:
            try:
                async with asyncio.timeout_at(tick):
                    await self._look.wait()
                    self._look.clear()
                    await self._verify_doubted()
                    await self._check_epoch()
                    # Doubles come in bursts; one look in this time is enough.
                    await asyncio.sleep(self._deps.tick_s / 4)
            except TimeoutError:
                tick = max(tick + self._deps.tick_s, loop.time())
                await self._tick()

    async def _tick(self) -> None:
        for connection, pts in self._due:
            if connection.ended is None:
                mine = pts.pop(connection.user)
                frame = frames.heartbeat(mine, {c: n for c, n in pts.items() if c in connection.channels})
                connection.outgoing.heartbeat(frame)
        self._due = []
        self._turn = (self._turn + 1) % len(self._slots)
        slot = [connection for connection in self._slots[self._turn] if connection.ended is None]
        try:
            await self._check_epoch()
            await asyncio.gather(*(self._lease(one, self._deps.heartbeat_s * 2 + 5) for one in slot))
            await asyncio.gather(*(self.verify(one) for one in slot))
            # The announcement of a membership may have been lost: who joined would never hear of the supergroup, and
            # who was kicked would go on hearing it.
            await asyncio.gather(*(self.refresh(one) for one in slot))
            self._due = await self._newest(slot)
        except (PlanBError, EpochLost) as error:
            self.count("beats_failed")
            log.warning("a heartbeat is late: %s", error)
        except Exception:
            self.count("beats_failed")
            log.exception("a heartbeat failed")

    async def _newest(self, slot: Iterable[Connection]) -> list[tuple[Connection, dict[str, int]]]:
        wanted = [(connection, (connection.user, *sorted(connection.channels))) for connection in slot]
        owners = list(dict.fromkeys(owner for _, some in wanted for owner in some))
        if not owners:
            return []
        pts = dict(zip(owners, await self._deps.hot.pts(owners), strict=True))
        return [(connection, {owner: pts[owner] for owner in some}) for connection, some in wanted]

    async def _check_epoch(self) -> None:
        try:
            epoch = await self._deps.hot.epoch()
        except PlanBError as error:
            self.count("beats_failed")
            log.warning("the epoch can't be read: %s", error)
            return
        if epoch is None:  # a rebuild is under way; it will end with a new one
            return
        self._epoch = epoch
        self._resume([one for one in self._everyone() if one.epoch and one.epoch != epoch], "epoch")

    async def _verify_doubted(self) -> None:
        if not self._doubted:
            return
        self._doubted = False
        everyone = self._everyone()
        try:
            for begin in range(0, len(everyone), VERIFIED_AT_A_TIME):
                await asyncio.gather(*map(self.verify, everyone[begin : begin + VERIFIED_AT_A_TIME]))
        except PlanBError as error:  # each is checked at its next heartbeat
            self.count("beats_failed")
            log.warning("tokens can't be checked: %s", error)

    async def verify(self, connection: Connection) -> None:
        """Ends it if its token is not valid any more. StoreUnavailable."""
        try:
            await self._deps.verify_token(connection.token)
        except Unauthenticated as error:
            connection.end(frames.of_refusal(error), error.detail)

    async def _lease(self, connection: Connection, ttl_s: int) -> None:
        try:
            await self._deps.hot.present(connection.user, connection.id, ttl_s)
        except PlanBError as error:  # a lease runs out by itself, and a missed one is renewed at the next turn
            self.count("leases_failed")
            log.warning("presence of %s: %s", connection.user, error)

    async def present(self, connection: Connection) -> None:
        """Keeps its user online."""
        await self._lease(connection, self._deps.heartbeat_s * 2 + 5)

    def _resume(self, connections: list[Connection], reason: str) -> None:
        for connection in connections:
            if connection.ended is None and connection.epoch:
                connection.epoch = self._epoch or connection.epoch
                self.count("resumes")
                connection.outgoing.resume(frames.resume(reason, self._deps.view.dc, connection.epoch))

    def _everyone(self) -> list[Connection]:
        return [connection for all_ in self._by_user.values() for connection in all_]


COUNTERS = (
    "opened",
    "announcements",
    "deliveries",
    "frames",
    "pokes",
    "resumes",
    "interrupted",
    "corrupt",
    "beats_failed",
    "leases_failed",
    "closed_slow",
    "closed_revoked",
    "closed_moved",
    "closed_refused",
    "closed_unauthenticated",
    "closed_expired",
    "closed_flooding",
    "closed_replaced",
    "closed_other",
)
"""The names of `Hub.metrics`, besides its gauges. `frames` counts those of closed connections."""

_ENDED = {
    Close.SLOW: "closed_slow",
    Close.REVOKED: "closed_revoked",
    Close.MOVE: "closed_moved",
    Close.REFUSED: "closed_refused",
    Close.TOO_MUCH: "closed_flooding",
    Close.REPLACED: "closed_replaced",
    Close.UNAUTHENTICATED: "closed_unauthenticated",
    Close.EXPIRED: "closed_expired",
}


def _discard(index: dict[str, set[Connection]], key: str, connection: Connection) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(connection)
        if not found:
            del index[key]

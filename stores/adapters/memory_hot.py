"""Hot state in this process: the same promises as the server's, in plain Python. For tests and simulations.

Several users of one instance are the several processes of one DC. `lose` is a restart of the server.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from core import ids, limits
from stores.ports import (
    Change,
    EpochLost,
    Feed,
    Frontier,
    HotBatch,
    Mark,
    Recent,
    Result,
    Stale,
    Unread,
    Updates,
)

LISTENER_QUEUE_MAX = 1_000
"""Frames that wait for one listener; beyond it they are lost, as pub/sub may, and an empty frame stands for them."""


class _Owner:
    """One list of updates, with what was trimmed from it."""

    def __init__(self) -> None:
        self.base = 0
        self.feeds: list[Feed] = []
        self.trimmed: dict[int, int] = {}

    @property
    def pts(self) -> int:
        return self.base + len(self.feeds)

    def append(self, feeds: Iterable[Feed], kept: int) -> int:
        self.feeds += feeds
        if len(self.feeds) > kept:
            excess = len(self.feeds) - limits.least(kept)
            for feed in self.feeds[:excess]:
                _raise(self.trimmed, ids.lane_of(feed.event), feed.event)
            del self.feeds[:excess]
            self.base += excess
        return self.pts


class _Window:
    """The newest messages of a conversation, in whatever order they came."""

    def __init__(self) -> None:
        self.messages: dict[int, Recent] = {}
        self.trimmed: dict[int, int] = {}
        self.recalled: set[int] = set()

    def add(self, recent: Recent, kept: int) -> None:
        self.messages[recent.message] = recent
        if len(self.messages) > kept:
            oldest = min(self.messages)
            del self.messages[oldest]
            _raise(self.trimmed, ids.lane_of(oldest), oldest)


class _State:
    """What a flush takes away."""

    def __init__(self) -> None:
        self.published: int | None = None
        self.building: int | None = None
        self.frontier: Frontier = {}
        self.floor: dict[int, int] = {}
        self.owners: defaultdict[str, _Owner] = defaultdict(_Owner)
        self.delivered: dict[tuple[str, str], dict[int, tuple[int, int]]] = {}
        self.dialogs: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.channels: dict[str, int] = {}
        self.windows: defaultdict[str, _Window] = defaultdict(_Window)
        self.marks: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        self.hidden: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self.results: dict[tuple[str, str], tuple[float, Result]] = {}
        self.keys: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self.stamps: dict[tuple[str, str, str], int] = {}
        self.leases: defaultdict[str, dict[str, float]] = defaultdict(dict)


class MemoryHot:
    """The HotStore in memory. `clock` gives seconds (any origin); results and leases end by it."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        updates_kept: int = limits.UPDATES_KEPT_MAX,
        recent_kept: int = limits.RECENT_KEPT_MAX,
        results_kept: int = limits.RESULTS_OF_USER_MAX,
        system_results_kept: int = limits.RESULTS_OF_SYSTEM_MAX,
    ) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._updates_kept = updates_kept
        self._recent_kept = recent_kept
        self._ids_kept = 4 * recent_kept
        self._results_kept = results_kept
        self._system_results_kept = system_results_kept
        self._state = _State()
        self._listeners: list[asyncio.Queue[bytes]] = []

    def lose(self) -> None:
        """What a restart or a failover of the server does: everything is gone."""
        self._state = _State()

    def _served(self) -> _State:
        if self._state.published is None:
            raise EpochLost("no epoch is published here")
        return self._state

    # -- epochs

    async def begin(self, epoch: int) -> None:
        self._state = _State()
        self._state.building = epoch

    async def publish_epoch(self, epoch: int, frontier: Frontier, trimmed: Mapping[int, int]) -> None:
        state = self._state
        if state.published == epoch:
            return
        if state.building != epoch:
            raise EpochLost("no epoch is published here")
        state.frontier = {lane: Mark(*mark) for lane, mark in frontier.items()}
        state.floor = dict(trimmed)
        state.published, state.building = epoch, None

    async def epoch(self) -> int | None:
        return self._state.published

    async def frontier(self) -> Frontier:
        return dict(self._served().frontier)

    # -- writes

    async def decide(self, changes: Sequence[Change]) -> list[bool]:
        lost = []
        for table, key, column, stamp in changes:
            old = self._state.stamps.get((table, key, column), stamp)
            lost.append(stamp < old)
            self._state.stamps[table, key, column] = max(old, stamp)
        return lost

    async def apply(self, batch: HotBatch) -> dict[str, int]:
        state = self._state
        if batch.epoch not in (state.published, state.building):
            raise EpochLost("no epoch is published here")
        for lane, (after, _) in batch.moves.items():
            if state.frontier.get(lane, Mark(0, 0)).seq != after:
                raise Stale(dict(state.frontier))
        fed: dict[str, int] = {}
        for feeds, back in ((batch.feeds, False), (batch.back_feeds, True)):
            self._feed(feeds, back, fed)
        self._index(batch)
        for recent in batch.recents:
            if recent.counts:
                state.windows[recent.conversation].add(recent, self._recent_kept)
        for conversation, id in batch.recalls:
            self._keep_newest(state.windows[conversation].recalled, id)
        for user, conversation, id in batch.hides:
            self._keep_newest(state.hidden[user, conversation], id)
        for user, conversation, lane, id in batch.marks:
            _raise(state.marks[user, conversation], lane, id)
        for conversation, lane, id in batch.window_floors:
            _raise(state.windows[conversation].trimmed, lane, id)
        for result in batch.results:
            self._keep_result(result)
        state.frontier |= {lane: Mark(*end) for lane, (_, end) in batch.moves.items()}
        return fed

    def _feed(self, feeds: Sequence[Feed], back: bool, fed: dict[str, int]) -> None:
        by_owner: defaultdict[str, list[Feed]] = defaultdict(list)
        for feed in feeds:
            by_owner[feed.owner].append(feed)
        for name, wanted in by_owner.items():
            owner = self._state.owners[name]
            if back:
                held = {feed.event for feed in owner.feeds}
                wanted = [feed for feed in dict.fromkeys(wanted) if feed.event not in held]
            if wanted:
                self._note(name, owner.pts, wanted)
                fed[name] = owner.append(wanted, self._updates_kept)

    def _note(self, owner: str, pts: int, feeds: Sequence[Feed]) -> None:
        """Per conversation and lane the greatest message delivered, with its pts: it outlives trimming."""
        for at, feed in enumerate(feeds, pts + 1):
            if feed.conversation:
                lanes = self._state.delivered.setdefault((owner, feed.conversation), {})
                lane = ids.lane_of(feed.event)
                if feed.event > lanes.get(lane, (-1, 0))[0]:
                    lanes[lane] = (feed.event, at)
                self._raise_top(owner, feed.conversation, feed.event)

    def _index(self, batch: HotBatch) -> None:
        state = self._state
        for user, conversation, id in batch.tops:
            self._raise_top(user, conversation, id)
        for channel, id in batch.channel_tops:
            state.channels[channel] = max(id, state.channels.get(channel, 0))

    def _raise_top(self, user: str, conversation: str, id: int) -> None:
        dialogs = self._state.dialogs[user]
        dialogs[conversation] = max(id, dialogs.get(conversation, 0))

    def _keep_newest(self, known: set[int], id: int) -> None:
        known.add(id)
        if len(known) > self._ids_kept:
            known.remove(min(known))

    def _keep_result(self, result: Result) -> None:
        state = self._state
        old = self._result(result.actor, result.key)
        if old is None or result.event < old.event:
            state.results[result.actor, result.key] = (self._clock() + limits.RESULT_KEPT_S, result)
        if old is None:
            keys = state.keys[result.actor]
            keys.append((result.event, result.key))
            kept = self._system_results_kept if result.actor == "sys" else self._results_kept
            if len(keys) > kept + kept // limits.LIST_TRIM_SHARE:
                for event, key in keys[:-kept]:
                    _, its = state.results.get((result.actor, key), (0.0, None))
                    if its is not None and its.event <= event:
                        del state.results[result.actor, key]
                del keys[:-kept]

    def _result(self, actor: str, key: str) -> Result | None:
        until, result = self._state.results.get((actor, key), (0.0, None))
        return result if until > self._clock() else None

    # -- updates

    async def updates(self, owner: str, after: int, limit: int) -> Updates:
        state = self._served().owners.get(owner) or _Owner()
        skip = min(max(after - state.base, 0), len(state.feeds))
        entries = [feed.entry for feed in state.feeds[skip : skip + limit]]
        return Updates(state.base + skip + 1, entries, state.pts)

    def _trimmed(self, owner: str) -> dict[int, int]:
        state = self._served()
        found = dict(state.floor)
        if owner in state.owners:
            for lane, id in state.owners[owner].trimmed.items():
                _raise(found, lane, id)
        return found

    async def trimmed(self, owner: str) -> dict[int, int]:
        return self._trimmed(owner)

    async def pts(self, owners: Sequence[str]) -> list[int]:
        state = self._served()
        return [state.owners[owner].pts if owner in state.owners else 0 for owner in owners]

    async def seen(self, owner: str, conversation: str, message: int, pts: int) -> dict[int, int]:
        found: dict[int, int] = {}
        state = self._served()
        known = state.owners.get(owner) or _Owner()
        for feed in known.feeds[: max(0, pts - known.base)]:
            if feed.conversation == conversation and feed.event <= message:
                _raise(found, ids.lane_of(feed.event), feed.event)
        for lane, (id, at) in state.delivered.get((owner, conversation), {}).items():
            if at <= pts and id <= message:
                _raise(found, lane, id)
        if pts >= known.base:
            for lane, id in self._trimmed(owner).items():
                _raise(found, lane, min(id, message))
        return found

    # -- dialogs

    async def dialogs(
        self, user: str, channels: Sequence[str], pinned: Sequence[str], after: tuple[int, str] | None, limit: int
    ) -> list[tuple[str, int]]:
        state = self._served()
        tops = dict(state.dialogs.get(user, {}))
        tops |= {name: state.channels[name] for name in channels if name in state.channels}
        order = sorted((-top, name) for name, top in tops.items() if name not in pinned)
        if after is not None:
            order = [place for place in order if place > (-after[0], after[1])]
        return [(name, -top) for top, name in order[:limit]]

    async def tops(self, user: str, conversations: Sequence[str]) -> list[int]:
        state = self._served()
        mine = state.dialogs.get(user, {})
        return [mine.get(name) or state.channels.get(name, 0) for name in conversations]

    async def unread(self, user: str, asked: Sequence[tuple[str, int]]) -> list[Unread]:
        return [self._unread(user, conversation, joined_at) for conversation, joined_at in asked]

    def _unread(self, user: str, conversation: str, joined_at: int) -> Unread:
        state = self._served()
        if conversation not in state.windows:
            return Unread(0, False)
        window = state.windows[conversation]
        marks = state.marks.get((user, conversation), {})
        hidden = state.hidden.get((user, conversation), set())

        def done(id: int) -> bool:
            read = id <= max(marks.get(ids.lane_of(id), 0), joined_at)
            return read or id in hidden or id in window.recalled

        classes: defaultdict[int, list[int]] = defaultdict(list)
        for id, recent in window.messages.items():
            if recent.sender != user:
                classes[recent.class_].append(id)
        count = sum(not any(map(done, members)) for members in classes.values())
        more = any(id > max(marks.get(lane, 0), joined_at) for lane, id in window.trimmed.items())
        return Unread(count, more)

    async def result(self, actor: str, key: str) -> Result | None:
        self._served()
        return self._result(actor, key)

    async def results_of(self, asked: Sequence[tuple[str, str]]) -> list[Result | None]:
        return [await self.result(actor, key) for actor, key in asked]

    # -- brokers and presence

    async def announce(self, frame: bytes) -> None:
        for queue in self._listeners:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(b"")
            queue.put_nowait(frame)

    async def listen(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue(LISTENER_QUEUE_MAX)
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    async def present(self, user: str, connection: str, ttl_s: int) -> None:
        leases = self._state.leases[user]
        if ttl_s > 0:
            leases[connection] = self._clock() + ttl_s
        else:
            leases.pop(connection, None)
        if not leases:
            del self._state.leases[user]

    async def online(self, users: Sequence[str]) -> list[bool]:
        now = self._clock()
        return [any(until > now for until in self._state.leases.get(user, {}).values()) for user in users]

    async def close(self) -> None:
        self._listeners.clear()


def _raise(lanes: dict[int, int], lane: int, id: int) -> None:
    if id > lanes.get(lane, -1):
        lanes[lane] = id

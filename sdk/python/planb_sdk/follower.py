"""Follows the updates: the stream while it lasts, POST /v1/updates wherever the stream can't be trusted.

The stream is a hint. What counts is the cursor, taken whole from each answer, and the position in clear beside it:
an update that is not exactly the next of its list is a hole, and a hole is fetched.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from planb_sdk.backoff import Backoff
from planb_sdk.doubles import Doubles, about
from planb_sdk.errors import ApiError, Closed, PlanBError, Unreachable
from planb_sdk.model import Position, Update
from planb_sdk.state import State
from planb_sdk.stream import Ended, Stream
from planb_sdk.transport import AGAIN_CODES, Answer, Transport

Json = dict[str, Any]
log = logging.getLogger("planb_sdk")


class Follower:
    """`reload` loads the state anew after a reset, or some conversations of it."""

    def __init__(
        self,
        transport: Transport,
        state: State | None,
        reload: Callable[[bool], Awaitable[None]],
        on_new_life: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._stats = transport.stats
        self._options = transport.options
        self._state = state
        self._reload = reload
        self._on_new_life = on_new_life
        self._doubles = Doubles(self._options.doubles_kept_max)
        self._stream = Stream(transport)
        self._fetching = asyncio.Lock()
        self._beginning = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._pending: deque[Update] = deque()
        self._interrupting: set[asyncio.Task[None]] = set()
        self.cursor = ""
        self.position: Position | None = None
        self._region = ""
        """Whose cursor it is."""
        self._drained = True
        """Nothing was left to be fetched behind it."""
        self._moves = 0
        """Changes of region."""
        self._ahead = False
        """The position has moved beyond the cursor by what came over the stream."""
        self._since = 0
        """Updates that came over the stream since the cursor was taken."""
        self._came = 0
        """Updates that came at all."""
        self._came_at_cursor = 0
        self.following = False
        self.wanted = False
        """The application wants every update from its first cursor on."""
        self._life: tuple[str, int] | None = None
        """DC and epoch of the stream: what its pts count in."""
        self._wanted = False
        """Something has to be fetched."""
        self._holes: dict[str | None, int] = {}
        self._taken: Json = {}
        """As `saved` tells it, when every update had been taken."""
        self._taken_from = 0
        """How many had come when its cursor was taken: those since then may come again, and are to be known."""
        transport.on_switch.append(self._switched)

    # -- where we stand

    async def begin(self) -> None:
        """Takes a cursor at the present, if there is none: what is loaded from now on is covered by it."""
        async with self._beginning:  # a second one, later than the first, would pass over what lies between them
            if not self.cursor:
                await self._present()

    async def before_loading(self) -> None:
        """To be called before something is loaded: for one who doesn't follow, what is loaded counts as delivered."""
        async with self._beginning:
            if not self.wanted:
                await self._present()

    async def _present(self) -> None:
        self._take(await self._transport.call("GET", "/v1/state"))

    async def place(self) -> Json:
        """How far this client is, as the body of a mark tells it. What lies before a cursor at the present comes by
        loading: until that is done, it would be said of what was never shown."""
        await self.begin()
        if self.wanted:
            await self._load(stale=False)
        assert self.position is not None
        return {"cursor": self.cursor, "at": self.position.shown()}

    def saved(self) -> Json:
        """Where the application is: an update that it has not taken yet comes after this."""
        if not self._pending:
            self._mark()
        waiting = {about({"type": one.type, "event": one.event, **one.body}) for one in self._pending}
        return self._taken | {"doubles": self._doubles.saved(self._came - self._taken_from, waiting)}

    def restore(self, saved: Json) -> None:
        self.cursor, self._ahead, self.wanted = saved["cursor"], saved["ahead"], saved["wanted"]
        self.position = Position.of(saved["position"]) if saved["position"] is not None else None
        self._doubles.restore(saved["doubles"])
        self._since = self._came = len(saved["doubles"]["events"])

    def _mark(self) -> None:
        self._taken = {
            "cursor": self.cursor,
            "position": self.position.shown() if self.position is not None else None,
            "ahead": self._ahead,
            "wanted": self.wanted,
        }
        self._taken_from = self._came_at_cursor

    def _take(self, answer: Answer) -> None:
        """The new cursor, whole: merging two cursors element by element would miss."""
        before, body = self.position, answer.body
        self.cursor, self.position, self._ahead = body["cursor"], Position.of(body["position"]), False
        self._region, self._drained = answer.region, not body.get("more")
        self._since, self._came_at_cursor = 0, self._came
        if before is not None and before.life != self.position.life:
            self._on_new_life()

    # -- fetching

    async def _page(self) -> bool:
        """Fetches what lies after the cursor, and loads what can't be fetched any more; True if there is more."""
        answer = await self._fetched()
        if answer["reset"]:
            await self._load(stale=False)
        return bool(answer["more"])

    async def _fetched(self) -> Json:
        async with self._fetching:
            await self.begin()
            body: Json = {"cursor": self.cursor, "limit": self._options.page}
            if self._ahead and self.position is not None:
                body["at"] = self.position.shown()
            if not self._pending:
                self._mark()
            whole = await self._transport.call("POST", "/v1/updates", body=body)
            answer = whole.body
            self._stats.fetches += 1
            self._stats.fetched += len(answer["updates"])
            self._got(answer["updates"])
            if answer["reset"] and self._state is not None:
                self._state.loaded = False
            self._take(whole)
            if answer["reset"]:
                self._stats.resets += 1
                self._hand_on(Update("reset", "0", self.position.pts if self.position else 0, None, {}))
            return answer

    async def _load(self, *, stale: bool = True) -> None:
        """What `state` lacks: everything, or the conversations that are stale."""
        if self._state is None:
            return
        async with self._loading:
            while not self._state.loaded or (stale and self._state.stale):
                moves = self._moves
                await self._to_region()
                everything = not self._state.loaded
                await self._reload(everything)
                if moves != self._moves:
                    self._state.loaded = False

    async def _to_region(self) -> None:
        """Before something is loaded: brings the cursor to the region that it will be loaded from. What a cursor of
        another region covers may not have come to this one, and nobody would bring it to who goes back."""
        while self._region != self._transport.region or not self._drained:
            await self._fetched()

    def _got(self, items: list[Json]) -> None:
        """The updates of one page or frame, as they came."""
        for item in items:
            if self._state is not None:
                self._state.fold(item["update"])  # doubles too: they may show what a slower region showed older
        places = {id(item["update"]): item for item in items}
        fresh = self._doubles.fresh([item["update"] for item in items])
        self._came += len(items)
        self._stats.repeated += len(items) - len(fresh)
        self._stats.received += len(fresh)
        for update, first in fresh:
            item = places[id(update)]
            body = {name: value for name, value in update.items() if name not in ("event", "type")}
            self._hand_on(Update(update["type"], update["event"], item["pts"], item.get("channel"), body, first))

    def _hand_on(self, update: Update) -> None:
        if not self.following:
            return  # nobody listens; the cursor moves on all the same, and state was folded
        if len(self._pending) >= self._options.pending_max:
            raise PlanBError(f"{len(self._pending)} updates wait to be taken from Client.updates()")
        self._pending.append(update)

    # -- following

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Until the client is closed, its session ends (Unauthenticated), or another stream of the session takes its
        place (Replaced)."""
        if self.following:
            raise PlanBError("the updates are being followed already")
        self.following = self.wanted = True
        backoff = self._transport.backoff()
        opened = False
        try:
            while not self._transport.closed:
                while self._pending:  # also what the loop before this one did not take
                    yield self._pending.popleft()
                self._stats.reconnects += opened
                opened = True
                try:
                    async with contextlib.aclosing(self._connected(backoff)) as received:
                        async for update in received:
                            yield update
                except Ended as ended:
                    log.info("the stream ended: %s", ended)
                    if ended.failed:
                        self._transport.failed(self._stream.region)
                except Unreachable as error:  # each try was counted against the region
                    log.info("the updates wait: %s", error)
                except ApiError as error:
                    if error.code not in AGAIN_CODES:
                        raise
                    # The region is behind what we have seen, for longer than a call waits: not our end.
                    log.info("the updates wait: %s", error)
                while self._pending:
                    yield self._pending.popleft()
                if not self._transport.closed:
                    await asyncio.sleep(backoff.pause_s())
        except Closed:
            return
        finally:
            self.following = False

    async def _connected(self, backoff: Backoff) -> AsyncGenerator[Update, None]:
        """One connection. Raises Ended or Unreachable when it is over."""
        await self.begin()
        await self._load()
        assert self.position is not None
        self._life = None
        async with contextlib.aclosing(self._stream.frames(self.cursor, self.position)) as frames:
            async for frame in frames:
                backoff.reset()
                self._transport.answered(self._stream.region)
                await self._frame(frame)
                while self._pending:
                    yield self._pending.popleft()
                while self._wanted:
                    self._wanted = await self._page()
                    while self._pending:
                        yield self._pending.popleft()
                self._check_holes()
                await self._load()

    async def _frame(self, frame: Json) -> None:
        kind = frame["type"]
        if not self._pending:
            self._mark()
        if kind in ("hello", "resume"):
            self._life = (frame["dc"], frame["epoch"])
        if kind == "resume":
            self._stats.resumes += 1
            if frame["reason"] == "epoch":
                # Everybody was told at once.
                await asyncio.sleep(self._transport.rng.uniform(0, self._options.spread_s))
            self._wanted = True
        elif kind in ("updates", "heartbeat", "poke"):
            if self.position is None or self.position.life != self._life:
                self._wanted = True  # its pts count in another life than ours
            elif kind == "updates":
                self._streamed(frame["updates"])
            elif kind == "poke":
                self._told(frame.get("channel"), frame["pts"])
            else:
                self._told(None, frame["pts"])
                for channel, pts in frame["channels"].items():
                    self._told(channel, pts)

    def _streamed(self, items: list[Json]) -> None:
        """Takes what is exactly the next of its list. At a hole the rest is left to the fetch, which brings it too."""
        taken: list[Json] = []
        for item in items:
            channel, pts = item.get("channel"), item["pts"]
            assert self.position is not None
            known = self.position.known(channel)
            if known is not None and pts <= known:
                self._stats.repeated += 1
            elif known is not None and pts == known + 1:
                self.position = self.position.moved(channel, pts)
                self._ahead = True
                taken.append(item)
            else:
                self._hole(channel, pts)
                break
        self._got(taken)
        self._since += len(taken)
        if self._since >= self._options.cursor_after:
            self._wanted = True

    def _told(self, channel: str | None, pts: int) -> None:
        """The server's newest pts: whatever lies before them and is not here was lost on the way."""
        assert self.position is not None
        if pts > (self.position.known(channel) or 0):
            self._hole(channel, pts)

    def _hole(self, channel: str | None, pts: int) -> None:
        self._stats.holes += 1
        self._holes[channel] = max(pts, self._holes.get(channel, 0))
        self._wanted = True

    def _check_holes(self) -> None:
        """After a fetch that drained everything, no hole of this life may be open."""
        if self._holes and self.position is not None and self.position.life == self._life:
            for channel, pts in self._holes.items():
                known = self.position.known(channel)
                self._stats.missed += known is not None and known < pts
        self._holes.clear()

    def _switched(self) -> None:
        self._moves += 1
        self._on_new_life()
        if self.following:
            task = asyncio.create_task(self._stream.interrupt())
            self._interrupting.add(task)
            task.add_done_callback(self._interrupting.discard)

    async def close(self) -> None:
        """Ends the stream; `updates` ends by it."""
        await self._stream.interrupt()
        await asyncio.gather(*self._interrupting, return_exceptions=True)

"""What a connection gets first: the server's hello, and what lies after the position that the client stated."""

from collections.abc import AsyncIterator

from broker import frames
from broker.connection import Connection
from broker.deps import BrokerDeps
from core import limits
from core.action import Position
from core.errors import NotServing
from stores import render
from stores.ports import EpochLost


class Greeting:
    """`at` and `epoch` are set once it has been sent: everything through `at` is sent, or for the client to fetch."""

    def __init__(self, deps: BrokerDeps, connection: Connection, position: Position | None) -> None:
        self._deps = deps
        self._connection = connection
        self._position = position
        self.at: dict[str, int] = {}

    async def send(self) -> None:
        """NotServing while there is no epoch; StoreUnavailable."""
        try:
            await self._send()
        except EpochLost as error:
            raise NotServing("the hot store is being rebuilt", retry_after_s=1) from error

    async def _send(self) -> None:
        deps, connection = self._deps, self._connection
        epoch = await deps.hot.epoch()
        if epoch is None:
            raise NotServing("the hot store is being rebuilt", retry_after_s=1)
        owners = (connection.user, *sorted(connection.channels))
        newest = dict(zip(owners, await deps.hot.pts(owners), strict=True))
        self.at = dict(newest)
        channels = {owner: pts for owner, pts in newest.items() if frames.is_channel(owner)}
        await connection.send(frames.hello(deps.view.dc, epoch, newest[connection.user], channels, deps.heartbeat_s))
        reason = self._refusal(epoch, newest)
        if not reason:
            async for frame in self._missed(newest):
                if not frame:
                    reason = "too_far"
                    break
                await connection.send(frame)
        if reason:
            await connection.send(frames.resume(reason, deps.view.dc, epoch))
        connection.epoch = epoch

    def _refusal(self, epoch: int, newest: dict[str, int]) -> str:
        """Why the client has to fetch, "" where this stream can go on from its position."""
        position = self._position
        if position is None:
            return "none"
        if position.dc != self._deps.view.dc:
            return "other_dc"
        if position.epoch != epoch:
            return "epoch"
        behind = 0
        for owner, pts in newest.items():
            known = self._known(position, owner)
            if known is None:
                if pts:
                    return "channels"
                continue
            if known > pts:
                return "epoch"
            behind += pts - known
        return "too_far" if behind > limits.RESUME_UPDATES_MAX else ""

    def _known(self, position: Position, owner: str) -> int | None:
        return position.channels.get(owner) if frames.is_channel(owner) else position.pts

    async def _missed(self, newest: dict[str, int]) -> AsyncIterator[bytes]:
        """Frames with what lies after the position; an empty one where something of it is gone."""
        assert self._position is not None
        for owner, pts in newest.items():
            after = self._known(self._position, owner) or 0
            while after < pts:
                page = await self._deps.hot.updates(owner, after, limits.PAGE_MAX)
                if page.first != after + 1 or not page.entries:
                    yield b""
                    return
                entries = [render.decode(entry) for entry in page.entries]
                shown = await render.render_all(self._deps.view, entries, self._connection.user)
                items = [frames.item(owner, page.first + n, frames.encoded(one)) for n, one in enumerate(shown)]
                page_of_frames = list(frames.updates(items))
                outgoing = self._connection.outgoing
                outgoing.leave(sum(map(len, page_of_frames)))
                for frame in page_of_frames:
                    yield frame
                    outgoing.left(len(frame))
                after += len(items)
            self.at[owner] = max(after, pts)

"""A process's line to the one that applies: kept up, its news passed on in order, its asks answered or told that they
may not have been (line_wire.py)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp

from api.line_wire import FRAME_BYTES_MAX, PATH, Ask, Seal, request_mac
from core import limits
from core.errors import Corrupt, LinkFailed, Overloaded, PlanBError, StoreUnavailable
from core.system import Entropy
from events.record import Record, encode
from replicator.backoff import Backoff
from replicator.link import Credentials
from stores.tidings import Answer, Mirror, News, Pulse

log = logging.getLogger(__name__)

_CONNECT_S_MAX = 3.0
_REFUSED = {
    401: "the signature is refused: sys_key_file or the clock differs there",
    404: "what runs this datacenter takes no other processes: it is `planb serve all`, not `planb serve sys`",
    503: "the process that applies is starting",
}


class SysLine:
    """`run` keeps it up. An ask waits for the line, at most LANE_ANSWER_MS_MAX: so long a restart of the other side may
    take without anybody being told."""

    def __init__(
        self,
        role: str,
        dc: str,
        session: aiohttp.ClientSession,
        credentials: Credentials,
        key: bytes,
        where: Callable[[], str],
        mirror: Mirror,
        entropy: Entropy,
    ) -> None:
        """`where`: the internal listener of the process that applies, as it is known now. `key`: of that listener."""
        self._path = f"{PATH}?role={role}"
        self._dc = dc
        self._session = session
        self._credentials = credentials
        self._key = key
        self._where = where
        self._mirror = mirror
        self._backoff = Backoff(entropy, max_ms=limits.LINE_AGAIN_MS_MAX)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._seal: Seal | None = None
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._number = 0
        self._up = asyncio.Event()
        self._announced: asyncio.Queue[bytes] | None = None
        self.pulse: Pulse | None = None
        """The last one; of a line that is lost as well."""
        self.heard_pulse: Callable[[Pulse], None] = lambda pulse: None
        self.error = "it was not asked yet"
        """Why there is no line; "" while there is."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._connect()
            except aiohttp.WSServerHandshakeError as error:
                self._broke(_REFUSED.get(error.status, f"it is refused with {error.status}"))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._broke(str(error) or type(error).__name__)
            except PlanBError as error:
                self._broke(error.detail)
            await self._backoff.wait()

    async def up(self) -> None:
        """Returns when there is a line, and everything is known that it had to tell at first."""
        await self._up.wait()

    # -- asking

    async def apply(self, lane: int, through: int, records: Sequence[Record]) -> None:
        """As stores.lane_feed.LaneFeed.apply. StoreUnavailable: not as far as anybody knows; ask again."""
        await self._ask("apply", lane, through, records=b"".join(map(encode, records)))

    async def wait(self, lane: int, seq: int, timeout_s: float) -> bool:
        """As api.writes.RemoteDurability.wait."""
        try:
            return bool(await self._ask("remote", lane, seq, timeout_ms=int(timeout_s * 1_000)))
        except PlanBError as error:
            log.info("whether another datacenter holds it is not known: %s", error)
            return False

    async def written(self) -> None:
        """Returns when the message rows of all that was applied can be read. StoreUnavailable."""
        await self._ask("written")

    async def clock(self) -> int:
        """What the other's wall clock shows, at some moment between the call and its return. StoreUnavailable."""
        return await self._ask("clock")

    async def _ask(self, kind: str, lane: int = 0, seq: int = 0, timeout_ms: int = 0, records: bytes = b"") -> int:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.LANE_ANSWER_MS_MAX / 1_000
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._up.wait()
            except TimeoutError:
                raise StoreUnavailable(
                    "the process that applies is not reachable", private=self.error, retry_after_s=1
                ) from None
            socket, seal = self._socket, self._seal
            if socket is None or seal is None:  # it broke in this very moment
                continue
            self._number += 1
            number = self._number
            done: asyncio.Future[int] = loop.create_future()
            self._asked[number] = done
            try:
                await socket.send_bytes(seal.seal(Ask(number, kind, lane, seq, timeout_ms, records)))
                return await done
            except (LinkFailed, ConnectionError) as error:
                log.info("%s is asked again: %s", kind, error)
            finally:
                self._asked.pop(number, None)

    # -- hearing

    async def listen(self) -> AsyncIterator[bytes]:
        """As stores.ports.HotStore.listen: what is announced; an empty frame after the line was lost."""
        queue = self._announced = asyncio.Queue()
        while True:
            yield await queue.get()

    def _announce(self, frame: bytes) -> None:
        """An empty one stands for all that was lost."""
        queue = self._announced
        if queue is None:
            return
        if queue.qsize() >= limits.LINE_ANNOUNCED_MAX:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(b"")
        queue.put_nowait(frame)

    async def _connect(self) -> None:
        headers = self._credentials.sign(self._dc, "GET", self._path, b"")
        timeout = aiohttp.ClientWSTimeout(ws_close=1.0)
        async with asyncio.timeout(_CONNECT_S_MAX):
            socket = await self._session.ws_connect(
                self._where().rstrip("/") + self._path,
                headers=dict(headers),
                timeout=timeout,
                compress=0,
                max_msg_size=FRAME_BYTES_MAX,
            )
        try:
            async with asyncio.timeout(_CONNECT_S_MAX):
                nonce = await socket.receive_bytes()
            mac = request_mac(headers["Authorization"])
            self._seal = Seal(self._key, mac, nonce, "asks")
            self._socket = socket
            await self._read(socket, Seal(self._key, mac, nonce, "news"))
        except TypeError as error:  # aiohttp: not a binary frame, but its end
            raise LinkFailed("the line was closed at once", private=str(error)) from error
        finally:
            self._lost()
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                await socket.close()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, seal: Seal) -> None:
        while True:
            async with asyncio.timeout(limits.LINE_SILENCE_MS_MAX / 1_000):
                message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise LinkFailed("the process that applies closed the line")
            self._hear(seal.open(message.data, News))

    def _hear(self, news: News) -> None:
        self._mirror.hear(news)
        if news.pulse is not None:
            self.pulse = news.pulse
            self.heard_pulse(news.pulse)
        if not self._up.is_set() and self.pulse is not None:
            self.error = ""
            self._backoff.reset()
            self._up.set()
            log.info("the line to the process that applies is up")
        for frame in news.announced:
            self._announce(frame)
        for answer in news.answers:
            asked = self._asked.get(answer.number)
            if asked is not None and not asked.done():
                _settle(asked, answer)

    def _lost(self) -> None:
        self._up.clear()
        self._socket, self._seal = None, None
        self._mirror.lost()
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if not one.done():
                one.set_exception(LinkFailed("the line broke"))
        self._announce(b"")

    def _broke(self, why: str) -> None:
        if not self.error:
            log.warning("the line to the process that applies is lost: %s", why)
        self.error = why


def _settle(asked: "asyncio.Future[int]", answer: Answer) -> None:
    if not answer.code:
        asked.set_result(answer.value)
    elif answer.code == Overloaded.code:
        asked.set_exception(Overloaded(answer.detail, retry_after_s=0.5))
    elif answer.code == Corrupt.code:
        asked.set_exception(Corrupt(answer.detail))
    else:
        asked.set_exception(StoreUnavailable(answer.detail, private=answer.code, retry_after_s=1))

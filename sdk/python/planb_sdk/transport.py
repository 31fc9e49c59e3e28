"""Requests to one region at a time: repeated while that may help, and moved to the next region when it does not."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from planb_sdk.backoff import Backoff
from planb_sdk.errors import ApiError, Closed, Unauthenticated, Unreachable
from planb_sdk.options import Options
from planb_sdk.stats import Stats
from planb_sdk.tokens import Pair, Tokens

Json = dict[str, Any]
AGAIN = frozenset((408, 425, 429, 502, 503, 504))
AGAIN_CODES = frozenset(("not_yet_here", "clock_ahead"))
EXPIRED = "token_expired"


@dataclass(frozen=True, slots=True)
class Answer:
    body: Json
    headers: Mapping[str, str]
    region: str
    data: bytes = b""
    """What a call answers that answers no JSON."""


class _Failed(Exception):
    """One try that another one may make good."""

    def __init__(self, detail: str, retry_after_s: float, counts: bool, problem: tuple[int, Json] | None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.counts = counts
        """Against the region: it is down, rather than busy or behind."""
        self.problem = problem


class Transport:
    """Also keeps the greatest X-Clock, so that what is written is stamped after what was seen, in any region."""

    def __init__(
        self,
        regions: Sequence[str],
        token: str,
        session: aiohttp.ClientSession,
        options: Options,
        stats: Stats,
        rng: Random,
        refresh_token: str = "",
        on_tokens: Callable[[Pair], None] | None = None,
    ) -> None:
        self.regions = [*regions]
        self.region = self.regions[0]
        self.tokens = Tokens(token, refresh_token, self._refreshed, on_tokens)
        self.session = session
        self.options = options
        self.stats = stats
        self.rng = rng
        self.closed = False
        self.on_switch: list[Callable[[], None]] = []
        self._failures = 0
        self._clock = ""
        self._clock_id = 0

    # -- regions

    def switch(self, region: str) -> None:
        """Everything from now on goes there."""
        region = address(region)
        if region not in self.regions:
            self.regions.append(region)
        self._failures = 0
        if region != self.region:
            self.region = region
            self.stats.switches += 1
            for tell in self.on_switch:
                tell()

    def failed(self, region: str) -> None:
        """A try failed as if the region were not there; after some in a row, the next one is used."""
        if region != self.region:
            return
        self._failures += 1
        options = self.options
        if options.auto_switch and len(self.regions) > 1 and self._failures >= options.tries_per_region:
            self.switch(self.regions[(self.regions.index(region) + 1) % len(self.regions)])

    def answered(self, region: str) -> None:
        if region == self.region:
            self._failures = 0

    def backoff(self) -> Backoff:
        return Backoff(self.options.backoff_first_s, self.options.backoff_max_s, self.rng)

    # -- requests

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        key: str = "",
        durability: str = "",
        data: bytes | None = None,
        kind: str = "application/json",
        raw: bool = False,
        authorized: bool = True,
    ) -> Answer:
        """The answer to a request that may safely be repeated: a read, or a write with a key.

        Repeated with pauses on connection loss, timeouts, 429, 503 and 409 not_yet_here, for `give_up_s` in all.
        An expired token is refreshed, once for all who wait. Without `authorized` none is sent.
        Raises ApiError for a refusal, Unreachable when time is up. `data` of this media type stands in place of a body;
        `raw`: the answer is bytes.
        """
        sent = data if body is None else json.dumps(body).encode()
        loop = asyncio.get_running_loop()
        until = loop.time() + self.options.give_up_s
        backoff = self.backoff()
        renewed = False
        while True:
            if self.closed:
                raise Closed("the client was closed")
            token = await self.tokens.fresh() if authorized else ""
            try:
                return await self._once(method, path, sent, kind, query, key, durability, raw, token)
            except Unauthenticated as error:
                # Two in one call: some clock is wrong, and a third token would be no better.
                if error.code != EXPIRED or renewed or not await self.tokens.renew(token):
                    raise
                renewed = True
            except _Failed as failed:
                pause_s = backoff.pause_s(failed.retry_after_s)
                if loop.time() + pause_s > until:
                    if failed.problem is not None and failed.problem[0] == 409:
                        raise ApiError(*failed.problem) from failed
                    raise Unreachable(f"{method} {path}: {failed}", key) from failed
                self.stats.retries += 1
                await asyncio.sleep(pause_s)

    async def _refreshed(self, refresh_token: str) -> Json:
        body = {"refresh_token": refresh_token}
        self.stats.refreshes += 1
        return (await self.call("POST", "/v1/token/refresh", body=body, authorized=False)).body

    async def _once(
        self,
        method: str,
        path: str,
        sent: bytes | None,
        kind: str,
        query: Mapping[str, str] | None,
        key: str,
        durability: str,
        raw: bool,
        token: str,
    ) -> Answer:
        options = self.options
        bytes_only = raw or kind != "application/json"
        region = self.region
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        if durability:
            headers["Prefer"] = f"durability={durability}"
        if self._clock:
            headers["X-Clock"] = self._clock
        try:
            async with self.session.request(
                method,
                region + path,
                data=sent,
                params=query,
                headers=headers | ({"Content-Type": kind} if sent is not None else {}),
                timeout=aiohttp.ClientTimeout(total=options.give_up_s if bytes_only else options.request_timeout_s),
                allow_redirects=False,
            ) as response:
                text = await response.read()
                status, answered = response.status, response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failed(region)
            raise _Failed(f"{region}: {error or type(error).__name__}", 0, True, None) from error
        self.see(answered.get("X-Clock", ""))
        if raw and status == 200:
            self.answered(region)
            return Answer({}, answered, region, text)
        found = _object(text)
        if 200 <= status < 300 and found is not None:
            self.answered(region)
            return Answer(found, answered, region)
        raise self._refusal(region, status, found or {}, answered)

    def _refusal(self, region: str, status: int, problem: Json, headers: Mapping[str, str]) -> Exception:
        code = problem.get("code")
        if status in AGAIN or 200 <= status < 300 or (status == 409 and code in AGAIN_CODES):
            gone = status in (502, 503, 504) or status < 300
            self.failed(region) if gone else self.answered(region)
            return _Failed(f"{region}: {status} {code or ''}", _seconds(headers), gone, (status, problem))
        self.answered(region)
        return Unauthenticated(status, problem) if status == 401 else ApiError(status, problem)

    @property
    def clock(self) -> str:
        """The greatest X-Clock that any region answered."""
        return self._clock

    def see(self, clock: str) -> None:
        id = _clock_id(clock)
        if id > self._clock_id:
            self._clock, self._clock_id = clock, id


def addresses(regions: Sequence[str]) -> list[str]:
    """Of regions, as they are compared. ValueError for one that is none, or if there is none."""
    if not regions:
        raise ValueError("at least one region is needed")
    return [address(region) for region in regions]


def address(region: str) -> str:
    """Of a region, as it is compared. ValueError if it is none."""
    parts = urlsplit(region)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"region {region}: give its address, as https://fra.example.com or http://127.0.0.1:8080")
    return region.rstrip("/")


def _object(text: bytes) -> Json | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _seconds(headers: Mapping[str, str]) -> float:
    try:
        return min(60.0, max(0.0, float(headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0


def _clock_id(clock: str) -> int:
    """The first id in `PX1.<8 or 16 bytes, base64url>.<mac>`; 0 for what looks otherwise."""
    parts = clock.split(".")
    if len(parts) != 3:
        return 0
    try:
        return int.from_bytes(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))[:8])
    except ValueError:
        return 0

"""Both SDKs with tokens that expire, on a datacenter with its stream: they refresh by themselves, once for all who
wait, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from broker import BrokerDeps, add_routes
from core.action import Position
from core.system import entropy, wall_clock_ms
from planb_sdk import Client, Options, Pair, Unauthenticated
from tests.support.api import ApiDc
from tests.support.dc import OneDc
from tests.support.node_client import Refused, driver
from tests.support.replicated import until

LOGIN = ("Uada", "password of Uada", "phone")
OPTIONS = Options(give_up_s=5.0, backoff_first_s=0.01, backoff_max_s=0.1)
JS_OPTIONS = {"giveUpMs": 5_000, "backoffFirstMs": 10, "backoffMaxMs": 100}


class Site(NamedTuple):
    api: ApiDc
    url: str

    def hours_pass(self, hours: float) -> None:
        """For whoever looks at a token's time."""
        tokens = self.api.parts.tokens
        now = tokens._clock
        tokens._clock = lambda: now() + int(hours * 3_600_000)

    async def say(self, text: str) -> None:
        await self.api.dc.do("message.send", "Ugrace", to="Uada", text=text)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    dc = OneDc()
    await dc.start()
    api = ApiDc(dc)

    async def verify(token: str) -> tuple[str, str]:
        caller = await api.parts.tokens.authenticate(token)
        return caller.user, caller.session

    def position(user: str, cursor: str) -> Position:
        return api.parts.cursors.open(cursor, user).position()

    add_routes(
        api.app, BrokerDeps(dc.hot, dc.view, verify, position, entropy, wall_clock_ms, heartbeat_s=1, tick_s=0.1)
    )
    await api.http.start_server()
    try:
        await api.sign_up("Uada", "Ugrace", passwords=True)
        yield Site(api, str(api.http.make_url("")).rstrip("/"))
    finally:
        await api.http.close()
        await dc.stop()


async def test_an_expired_token_is_refreshed_once_for_all_who_wait(site: Site) -> None:
    told: list[Pair] = []
    async with await Client.login([site.url], *LOGIN, options=OPTIONS, on_tokens=told.append) as ada:
        first = Pair(ada.token, ada.refresh_token)
        site.hours_pass(2)
        await asyncio.gather(*(ada.me() for _ in range(20)), ada.send("Ugrace", "Hello"))
        assert ada.stats.refreshes == 1
        assert told == [first, Pair(ada.token, ada.refresh_token)]
        assert first.token != ada.token
    async with Client([site.url], told[-1].token, refresh_token=told[-1].refresh_token, options=OPTIONS) as later:
        site.hours_pass(2)
        await later.me()
        assert later.stats.refreshes == 1, "what was told is what another process goes on with"


async def test_a_token_is_refreshed_before_it_expires_and_nobody_waits(site: Site) -> None:
    async with await Client.login([site.url], *LOGIN, options=OPTIONS) as ada:
        first = ada.refresh_token
        ada._transport.tokens._due_s = 0.0
        await ada.me()
        await until(lambda: ada.refresh_token != first)
        assert ada.stats.retries == 0


async def test_the_stream_goes_on_over_an_expiry_and_misses_nothing(site: Site) -> None:
    async with await Client.login([site.url], *LOGIN, options=OPTIONS) as ada:
        got: list[str] = []

        async def follow() -> None:
            async for update in ada.updates():
                if update.message is not None:
                    got.append(str(update.message.text))

        following = asyncio.create_task(follow())
        try:
            await ada.begin()
            await site.say("before")
            await until(lambda: got == ["before"], 10)
            site.hours_pass(2)
            await site.say("meanwhile")
            await until(lambda: ada.stats.reconnects == 1, 10)
            await site.say("after")
            await until(lambda: got == ["before", "meanwhile", "after"], 10)
            assert ada.stats.refreshes == 1
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_without_a_refresh_token_or_after_a_revocation_the_session_is_over(site: Site) -> None:
    async with await Client.login([site.url], *LOGIN, options=OPTIONS) as ada:
        async with Client([site.url], ada.token, options=OPTIONS) as poor:
            await poor.me()
            site.hours_pass(2)
            with pytest.raises(Unauthenticated, match="token_expired"):
                await poor.me()
        await ada.revoke((await ada.sessions())[0].session)
        site.hours_pass(2)
        with pytest.raises(Unauthenticated, match="revoked"):
            await ada.me()


async def test_the_javascript_one_does_the_same(site: Site) -> None:
    async with driver() as node:
        ada = await node.login([site.url], *LOGIN, {"options": JS_OPTIONS})
        first = [await ada.get("token"), await ada.get("refreshToken")]
        await ada.call("begin")
        await ada.follow()
        await site.say("before")
        await until(lambda: ada.texts() == ["before"], 10)
        site.hours_pass(2)
        await asyncio.gather(*(ada.call("me") for _ in range(20)))
        assert (await ada.get("stats"))["refreshes"] == 1
        second: list[Any] = [await ada.get("token"), await ada.get("refreshToken")]
        assert first[0] != second[0]
        assert first[1] != second[1]
        await site.say("meanwhile")
        await until(lambda: ada.texts() == ["before", "meanwhile"], 10)
        site.hours_pass(2)
        await site.say("after")
        await until(lambda: ada.texts() == ["before", "meanwhile", "after"], 10)
        later = await node.client([site.url], second[0], refreshToken=second[1], options=JS_OPTIONS)
        poor = await node.client([site.url], second[0], options=JS_OPTIONS)
        with pytest.raises(Refused, match="token_expired"):
            await poor.call("me")
        await later.call("me")
        assert (await later.get("stats"))["refreshes"] == 1

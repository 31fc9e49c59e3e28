"""Refresh tokens: used once each, in any datacenter, also across a cut between them; who lost an answer
is not locked out, and who uses one that somebody else has used ends the session everywhere."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.queries import refreshing
from api.token_keys import TokenKeys, derived, named
from api.tokens import TokenRules
from core import limits
from core.refreshing import NUMBER_BITS, Use, use_of
from core.system import wall_clock_ms
from tests.support.api import KEY, ApiDc, Reply, User, api_dc
from tests.support.dc import OneDc

Pair = tuple[ApiDc, ApiDc]


@pytest.fixture
async def dcs() -> AsyncIterator[Pair]:
    async with api_dc(OneDc("fra", 1)) as fra, api_dc(OneDc("nyc", 2)) as nyc:
        await fra.sign_up("Uada", passwords=True)
        await meet((fra, nyc))
        yield fra, nyc


async def meet(dcs: Pair) -> None:
    for one, other in (dcs, dcs[::-1]):
        await one.dc.pull(other.dc)


async def login(at: ApiDc) -> dict[str, Any]:
    body = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    return await User(at, "Uada", "").ok("POST", "/v1/login", body)


async def refreshed(at: ApiDc, tokens: dict[str, Any]) -> Reply:
    return await User(at, "Uada", "").post("/v1/token/refresh", {"refresh_token": tokens["refresh_token"]})


async def new(at: ApiDc, tokens: dict[str, Any]) -> dict[str, Any]:
    reply = await refreshed(at, tokens)
    assert reply.status == 200, reply
    return reply.body


async def works(at: ApiDc, tokens: dict[str, Any]) -> bool:
    return (await User(at, "Uada", tokens["token"]).get("/v1/me")).status == 200


async def test_a_refresh_token_brings_new_tokens_in_any_datacenter(dcs: Pair) -> None:
    fra, nyc = dcs
    first = await login(fra)
    assert first["token_life_s"] == limits.ACCESS_TOKEN_S
    second = await new(nyc, first)  # which has not heard of the session
    third = await new(fra, second)  # which has not heard of that refresh
    assert third["session"] == first["session"]
    assert len({one["refresh_token"] for one in (first, second, third)}) == 3
    for at in dcs:
        assert await works(at, third)
    await meet(dcs)
    row = await nyc.dc.view.session(first["session"])
    assert row is not None
    assert (row.used >> NUMBER_BITS, row.revoked, row.device) == (2, False, "phone")


async def test_who_lost_an_answer_asks_again_wherever_he_is(dcs: Pair) -> None:
    fra, nyc = dcs
    first = await login(fra)
    await new(fra, first)  # and the answer is lost
    second = await new(fra, first)
    await new(nyc, second)  # lost, and nyc with it
    third = await new(fra, second)
    await meet(dcs)
    fourth = await new(nyc, third)
    await meet(dcs)
    for at in dcs:
        assert await works(at, await new(at, fourth)), "both are of one generation, and one of them is used next"


async def test_refreshes_on_both_sides_of_a_cut_lock_nobody_out(dcs: Pair) -> None:
    """The honest client moves between two datacenters that don't hear of each other, loses answers, and goes on."""
    fra, nyc = dcs
    tokens = await login(fra)
    await meet(dcs)
    for at, lost in ((fra, nyc), (nyc, fra), (fra, fra), (nyc, nyc), (fra, nyc)):
        await new(lost, tokens)
        tokens = await new(at, tokens)
    await meet(dcs)
    for at in dcs:
        tokens = await new(at, tokens)
        assert await works(at, tokens)


@pytest.mark.parametrize("thief_first", [True, False])
async def test_a_stolen_one_ends_the_session_everywhere_when_both_have_used_it(dcs: Pair, thief_first: bool) -> None:
    fra, nyc = dcs
    stolen = await login(fra)
    his, hers = await new(fra, stolen), await new(fra, stolen)
    one, other = (his, hers) if thief_first else (hers, his)
    latest = await new(fra, one)
    reply = await refreshed(fra, other)
    assert (reply.status, reply.code) == (401, "refresh_reused"), reply
    for tokens in (his, hers, latest, stolen):
        assert (await refreshed(fra, tokens)).code == "unauthenticated"
        assert not await works(fra, tokens)
    assert await works(nyc, latest), "nyc has not heard of it"
    await meet(dcs)
    assert not await works(nyc, latest)
    assert (await refreshed(nyc, latest)).status == 401


async def test_a_theft_that_a_cut_hid_is_found_after_it(dcs: Pair) -> None:
    fra, nyc = dcs
    stolen = await login(fra)
    await meet(dcs)
    hers = await new(fra, await new(fra, stolen))
    his = await new(nyc, stolen)
    assert await works(nyc, his), "nyc can't know"
    await meet(dcs)
    reply = await refreshed(nyc, his)
    assert (reply.status, reply.code) == (401, "refresh_reused")
    await meet(dcs)
    assert not await works(fra, hers)


async def test_a_revoked_session_is_not_refreshed(dcs: Pair) -> None:
    fra, nyc = dcs
    tokens = await login(fra)
    ada = User(fra, "Uada", tokens["token"])
    await ada.ok("DELETE", f"/v1/sessions/{tokens['session']}")
    assert (await refreshed(fra, tokens)).status == 401
    await meet(dcs)
    assert (await refreshed(nyc, tokens)).status == 401


async def test_what_is_no_refresh_token_is_refused(dcs: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fra, _ = dcs
    tokens = await login(fra)
    text = tokens["refresh_token"]
    before = tuple((await fra.dc.log.tops()).values())
    forged = (text[:-1], text + "A", tokens["token"], "", "PR1..x.y", text.replace("PR1", "PB1"), "PR1.../../key.x.y")
    for wrong in forged:
        reply = await refreshed(fra, {"refresh_token": wrong})
        assert (reply.status, reply.code) == (401, "unauthenticated"), (wrong, reply)
    assert (await refreshed(fra, {"refresh_token": "x" * 600})).status == 400
    later_ms = wall_clock_ms() + (limits.REFRESH_DAYS + 1) * 86_400_000
    monkeypatch.setattr(fra.parts.tokens, "_clock", lambda: later_ms)
    assert (await refreshed(fra, tokens)).status == 401
    assert tuple((await fra.dc.log.tops()).values()) == before, "nothing was written"


async def test_refreshes_of_one_session_are_bounded(dcs: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fra, _ = dcs
    tokens = await login(fra)
    monkeypatch.setattr(refreshing, "loop_s", lambda: 0.0)
    replies = [await refreshed(fra, tokens) for _ in range(limits.REFRESHES_OF_SESSION + 1)]
    assert {reply.status for reply in replies[:-1]} == {200}
    assert replies[-1].code == "too_many_requests"
    assert int(replies[-1].headers["Retry-After"]) > 0
    assert (await refreshed(fra, await login(fra))).status == 200, "another session is another one"


async def test_keys_roll_in_the_order_of_the_manual_and_nobody_notices() -> None:
    """More than one datacenter, each at another step: what one signs, the other believes at every step but the last."""
    old, fresh = derived(KEY), named(b"n" * 32)
    fra_keys, nyc_keys = TokenKeys([old]), TokenKeys([old])
    async with (
        api_dc(OneDc("fra", 1), token_keys=fra_keys) as fra,
        api_dc(OneDc("nyc", 2), token_keys=nyc_keys) as nyc,
    ):
        await fra.sign_up("Uada", passwords=True)
        await meet((fra, nyc))
        tokens = early = await login(fra)
        for keys in ([old, fresh], [fresh, old]):
            for rolled in (fra_keys, nyc_keys):
                assert rolled.replace(keys)
                for at in (fra, nyc, fra):
                    tokens = await new(at, tokens)
                    assert await works(fra, tokens)
                    assert await works(nyc, tokens)
        fra_keys.replace([fresh])
        assert await works(fra, tokens)
        assert not await works(fra, early), "what the old key signed is believed no more, also where it was cached"
        assert (await refreshed(fra, early)).code == "unauthenticated"


async def test_a_token_of_another_issuer_is_refused_whatever_key_both_have() -> None:
    async with api_dc(token_rules=TokenRules("tests of it", 60)) as other, api_dc() as mine:
        token = other.user("Uada").token
        assert (await User(mine, "Uada", token).get("/v1/sessions")).status == 401
        assert (await User(other, "Uada", token).get("/v1/sessions")).status == 200


def test_the_rule() -> None:
    first, sibling, second = 1 << NUMBER_BITS | 5, 1 << NUMBER_BITS | 9, 2 << NUMBER_BITS
    assert use_of(first, 0) is Use.NEW
    assert use_of(second, first) is Use.NEW
    assert use_of(first, first) is Use.AGAIN
    assert use_of(sibling, first) is Use.STALE
    assert use_of(first, sibling) is Use.STALE
    assert use_of(first, second) is Use.STALE

"""The SDK against a small region with scripted faults (tests/support/fake_region.py), over real sockets."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from planb_sdk import ApiError, Client, Draft, Options, Receipt, Replaced, Unauthenticated, Unreachable, Update
from tests.support.fake_region import FakeRegion, Fault, clock_of
from tests.support.markdown import ROOT, blocks

OPTIONS = Options(
    request_timeout_s=0.5,
    give_up_s=5.0,
    backoff_first_s=0.01,
    backoff_max_s=0.1,
    resend_after_s=0.2,
    spread_s=0.01,
)
DIALOG = {
    "conversation": "D1",
    "peer": {"user": {"id": "Ubob", "name": "", "avatar": "", "about": ""}},
    "present": True,
    "pin": None,
    "muted_until_ms": None,
    "marked_unread": False,
    "draft": None,
    "unread_mentions": 0,
    "unread_mentions_more": False,
    "read": {},
    "cleared": {},
}


@pytest.fixture
async def regions() -> AsyncIterator[tuple[FakeRegion, FakeRegion]]:
    both = FakeRegion("fra", lane=1), FakeRegion("syd", lane=2)
    for region in both:
        await region.start()
    yield both
    for region in both:
        await region.stop()


@pytest.fixture
def fra(regions: tuple[FakeRegion, FakeRegion]) -> FakeRegion:
    return regions[0]


@pytest.fixture
def syd(regions: tuple[FakeRegion, FakeRegion]) -> FakeRegion:
    return regions[1]


@pytest.fixture
async def ada(regions: tuple[FakeRegion, FakeRegion]) -> AsyncIterator[Client]:
    async with client(*regions) as made:
        yield made


def client(*regions: FakeRegion, **more: Any) -> Client:
    return Client([region.url for region in regions], "token", user="Uada", options=OPTIONS, **more)


@contextlib.asynccontextmanager
async def followed(client: Client) -> AsyncIterator[list[Update]]:
    """Its updates as they come."""
    got: list[Update] = []

    async def follow() -> None:
        async for update in client.updates():
            got.append(update)

    task = asyncio.create_task(follow())
    try:
        yield got
    finally:
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Exception):
            raise outcome


async def until(true: Callable[..., bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  (the far side tells nobody)
            await asyncio.sleep(0.005)


def texts(got: list[Update]) -> list[str | None]:
    return [update.message.text for update in got if update.message]


# -- writes


@pytest.mark.parametrize("kind", ["lost", "answer_lost"])
async def test_a_write_is_repeated_under_its_key_and_done_once(fra: FakeRegion, ada: Client, kind: str) -> None:
    fra.faults.extend([Fault(kind), Fault(kind)])
    receipt = await ada.send("Ubob", "hi")
    keys = fra.keys_of("/v1/messages")
    assert len(keys) == 3 and set(keys) == {receipt.key}
    assert len(fra.fed) == 1 and receipt.id == fra.fed[0]["event"]
    assert ada.stats.retries == 2


async def test_a_late_answer_is_not_waited_for_for_ever(fra: FakeRegion, ada: Client) -> None:
    fra.faults.append(Fault("late", seconds=3))
    receipt = await ada.send("Ubob", "hi")
    assert len(fra.keys_of("/v1/messages")) == 2 and len(fra.keys) == 1 and receipt.id


@pytest.mark.parametrize(
    ("status", "code"), [(503, "overloaded"), (429, "too_many_requests"), (409, "not_yet_here"), (409, "clock_ahead")]
)
async def test_a_pause_that_the_server_asks_for_is_kept(fra: FakeRegion, ada: Client, status: int, code: str) -> None:
    fra.faults.append(Fault("refused", status=status, code=code, retry_after="0.3"))
    begun = asyncio.get_running_loop().time()
    await ada.send("Ubob", "hi")
    assert asyncio.get_running_loop().time() - begun >= 0.3
    assert len(set(fra.keys_of("/v1/messages"))) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(400, "invalid"), (409, "conflict"), (403, "forbidden"), (422, "key_reused")]
)
async def test_a_refusal_is_told_at_once_and_nothing_is_kept(
    fra: FakeRegion, ada: Client, status: int, code: str
) -> None:
    fra.faults.append(Fault("refused", status=status, code=code))
    with pytest.raises(ApiError) as refused:
        await ada.send("Ubob", "hi")
    assert (refused.value.status, refused.value.code) == (status, code)
    assert len(fra.keys_of("/v1/messages")) == 1
    assert len(ada._writer.outbox) == 0


async def test_a_region_that_is_away_too_long_leaves_the_write_in_the_outbox(fra: FakeRegion) -> None:
    options = Options(request_timeout_s=0.2, give_up_s=0.3, backoff_first_s=0.01, backoff_max_s=0.05)
    async with Client([fra.url], "token", options=options) as ada:
        fra.faults.extend([Fault("lost")] * 50)
        with pytest.raises(Unreachable) as away:
            await ada.send("Ubob", "hi")
        assert ada.unsent == 1 and not fra.keys
        fra.faults.clear()
        await ada.settled()
        assert list(fra.keys) == [away.value.key] and ada.unsent == 0


async def test_a_cancelled_write_may_have_happened_so_it_is_sent_again_under_its_key(
    fra: FakeRegion, ada: Client
) -> None:
    fra.faults.append(Fault("late", seconds=0.4))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ada.send("Ubob", "hi", key="mine")
    await ada.settled()
    assert list(fra.keys) == ["mine"] and len(fra.fed) == 1


async def test_each_message_of_a_batch_has_its_own_outcome(fra: FakeRegion, ada: Client) -> None:
    fra.faults.append(Fault("item", "text:busy", code="overloaded"))
    fra.faults.append(Fault("item", "text:bad", status=404, code="not_found"))
    one, busy, bad = await ada.send_many([Draft("Ubob", "one"), Draft("Ubob", "busy"), Draft("Unobody", "bad")])
    assert isinstance(one, Receipt) and isinstance(busy, Receipt)
    assert isinstance(bad, ApiError) and (bad.status, bad.code) == (404, "not_found")
    first, second = [request.body["messages"] for request in fra.requests if request.path.endswith("/batch")]
    assert [message["text"] for message in second] == ["busy"] and second[0]["key"] == first[1]["key"]
    assert list(fra.keys) == [one.key, busy.key]


async def test_a_batch_whose_answer_is_lost_is_done_once(fra: FakeRegion, ada: Client) -> None:
    fra.faults.append(Fault("answer_lost", "/v1/messages/batch"))
    outcomes = await ada.send_many([Draft("Ubob", str(n)) for n in range(250)])
    assert [one.id for one in outcomes if isinstance(one, Receipt)] == [one["event"] for one in fra.fed]
    assert len(fra.fed) == 250


# -- regions


async def test_after_some_failures_the_next_region_is_used_with_the_same_key(
    fra: FakeRegion, syd: FakeRegion, ada: Client
) -> None:
    fra.faults.extend([Fault("lost")] * 50)
    receipt = await ada.send("Ubob", "hi")
    assert ada.region == syd.url and ada.stats.switches == 1
    assert len(fra.keys_of("/v1/messages")) == OPTIONS.tries_per_region
    assert list(syd.keys) == [receipt.key] == list(set(fra.keys_of("/v1/messages")))


async def test_a_region_that_is_only_busy_for_a_moment_is_kept(fra: FakeRegion, ada: Client) -> None:
    for _ in range(5):
        fra.faults.append(Fault("refused", status=503))
        await ada.send("Ubob", "hi")
    assert ada.region == fra.url


async def test_what_the_new_region_does_not_cover_is_sent_again_and_the_rest_is_not(
    fra: FakeRegion, syd: FakeRegion, ada: Client
) -> None:
    known, lost = await ada.send("Ubob", "known"), await ada.send("Ubob", "lost")
    syd.v[1] = int(known.id)
    ada.switch(syd.url)
    await ada.settled()
    assert list(syd.keys) == [lost.key]
    assert ada.stats.resent == 1
    assert [write.key for write in ada._writer.outbox._writes.values()] == [lost.key], "only syd has it, perhaps"


async def test_a_region_that_is_only_behind_gets_time_before_a_write_is_sent_again(
    fra: FakeRegion, syd: FakeRegion, ada: Client
) -> None:
    receipt = await ada.send("Ubob", "hi")
    ada.switch(syd.url)
    await until(lambda: "/v1/updates" in [request.path for request in syd.requests])
    syd.v[1] = int(receipt.id)
    await ada.settled()
    assert not syd.keys and ada.stats.resent == 0 and len(ada._writer.outbox) == 0


async def test_writes_that_are_sent_again_keep_their_order(fra: FakeRegion, syd: FakeRegion, ada: Client) -> None:
    sent = [await ada.send("Ubob", str(n)) for n in range(5)]
    ada.switch(syd.url)
    await ada.settled()
    assert list(syd.keys) == [receipt.key for receipt in sent]


async def test_a_region_that_burnt_and_came_back_gets_again_what_it_lost(fra: FakeRegion) -> None:
    async with client(fra) as ada, followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        receipt = await ada.send("Ubob", "hi")
        fra.forget()
        await fra.drop()
        await until(lambda: receipt.key in fra.keys)
        await ada.settled()
        assert ada.stats.resent == 1
        assert fra.keys_of("/v1/messages") == [receipt.key] * 2
        await fra.say(fra.item(1))
        await until(lambda: len(got) > 0)
        assert texts(got) == ["hi"]


async def test_the_greatest_clock_seen_goes_with_every_request_to_any_region(
    fra: FakeRegion, syd: FakeRegion, ada: Client
) -> None:
    fra.ticks = 5_000
    receipt = await ada.send("Ubob", "later")
    ada.switch(syd.url)
    await ada.send("Ubob", "sooner")
    await ada.send("Ubob", "sooner")
    clocks = [request.clock for request in syd.requests if request.path == "/v1/messages"]
    assert set(clocks) == {clock_of(int(receipt.id))}, "syd's own ids are smaller"


# -- updates


async def test_updates_come_over_the_stream_in_order(fra: FakeRegion, ada: Client) -> None:
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        for n in range(5):
            await fra.say(fra.happen(text=str(n)))
        await until(lambda: len(got) == 5)
    assert texts(got) == list("01234")
    assert all(update.first for update in got)
    assert ada.stats.fetches == 0


async def test_a_hole_is_fetched_and_nothing_comes_twice(fra: FakeRegion, ada: Client) -> None:
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        for n in range(10):
            item = fra.happen(text=str(n))
            if n not in (3, 4, 8):
                await fra.say(item)
        await until(lambda: len(got) == 10)
    assert texts(got) == list("0123456789")
    assert ada.stats.holes >= 1 and ada.stats.missed == 0 and ada.stats.fetched >= 3


@pytest.mark.parametrize(
    "frame", [{"type": "poke", "pts": 1}, {"type": "heartbeat", "pts": 1, "channels": {}}], ids=["poke", "heartbeat"]
)
async def test_being_behind_what_the_server_tells_is_a_hole(
    fra: FakeRegion, ada: Client, frame: dict[str, Any]
) -> None:
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        await fra.tell({"type": "heartbeat", "pts": 0, "channels": {}})
        fra.happen(text="lost on the way")
        await fra.tell(frame)
        await until(lambda: len(got) == 1)
        await fra.tell(frame)
        await fra.say(fra.happen(text="next"))
        await until(lambda: len(got) == 2)
    assert ada.stats.fetches == 1


async def test_a_stream_that_is_cut_goes_on_where_it_was(fra: FakeRegion, ada: Client) -> None:
    async with followed(ada) as got:
        for n in range(6):
            await until(lambda: len(fra.sockets) == 1)
            await fra.say(fra.happen(text=f"{n} said"))
            await fra.drop(4008 if n % 2 else 1001, "slow: resume")
            fra.happen(text=f"{n} meanwhile")
        await until(lambda: len(got) == 12)
    assert texts(got) == [f"{n} {how}" for n in range(6) for how in ("said", "meanwhile")]
    assert ada.stats.reconnects >= 5
    assert [hello["at"]["pts"] for hello in fra.hellos][:2] == [0, 1]


async def test_a_stream_whose_place_another_one_took_does_not_take_it_back(fra: FakeRegion, ada: Client) -> None:
    with pytest.raises(Replaced, match="took this one's place"):
        async with followed(ada):
            await until(lambda: len(fra.sockets) == 1)
            await fra.drop(4409, "replaced: another stream of this session took this one's place")
            await until(lambda: not ada._follower.following)
    assert len(fra.hellos) == 1
    async with followed(ada) as got:  # when the user turns to it
        await until(lambda: len(fra.hellos) == 2)
        await until(lambda: len(fra.sockets) == 1)
        await fra.say(fra.happen())
        await until(lambda: len(got) == 1)


async def test_a_stream_that_falls_silent_is_opened_again(fra: FakeRegion, ada: Client) -> None:
    fra.heartbeat_s = 0.1
    async with followed(ada) as got:
        await until(lambda: len(fra.hellos) >= 2)
        await until(lambda: len(fra.sockets) == 1)
        await fra.say(fra.happen())
        await until(lambda: len(got) == 1)


async def test_what_was_had_over_the_stream_is_not_fetched_again(fra: FakeRegion, ada: Client) -> None:
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        for _ in range(5):
            await fra.say(fra.happen())
        await until(lambda: len(got) == 5)
        fra.happen()
        await fra.tell({"type": "poke", "pts": 6})
        await until(lambda: len(got) == 6)
    assert ada.stats.fetched == 1


async def test_updates_follow_to_another_region_without_gap_or_double(
    fra: FakeRegion, syd: FakeRegion, ada: Client
) -> None:
    ids = [n << 16 | 3 for n in range(1, 9)]
    syd.page = 2
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        for n, id in enumerate(ids[:4]):
            await fra.say(fra.happen(text=str(n), id=id))
        await until(lambda: len(got) == 4)
        for n, id in reversed(list(enumerate(ids))):
            syd.happen(text=str(n), id=id)
        ada.switch(syd.url)
        await until(lambda: len(got) == 8)
        await until(lambda: len(syd.sockets) == 1)
        await syd.say(syd.happen(text="on"))
        await until(lambda: len(got) == 9)
    assert sorted(text for text in texts(got) if text) == [*"01234567", "on"]
    assert ada.stats.missed == 0


async def test_the_updates_move_on_by_themselves_when_the_region_goes_away(
    fra: FakeRegion, syd: FakeRegion, ada: Client
) -> None:
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        fra.faults.extend([Fault("lost", "/v1/stream")] * 50)
        await fra.drop()
        await until(lambda: len(syd.sockets) == 1)
        await syd.say(syd.happen(text="here"))
        await until(lambda: len(got) == 1)
    assert ada.region == syd.url


async def test_a_region_that_is_long_behind_what_we_have_seen_does_not_end_the_updates(fra: FakeRegion) -> None:
    """Another region's clock was far ahead: until ours gets there it asks us to wait, longer than a call does."""
    options = Options(request_timeout_s=0.5, give_up_s=0.05, backoff_first_s=0.01, backoff_max_s=0.02)
    async with Client([fra.url], "token", user="Uada", options=options) as ada:
        fra.faults.extend([Fault("refused", path="/v1/state", status=409, code="clock_ahead")] * 20)
        async with followed(ada) as got:
            await until(lambda: not fra.faults and len(fra.sockets) == 1)
            await fra.say(fra.happen(text="hi"))
            await until(lambda: texts(got) == ["hi"])


async def test_a_new_epoch_is_fetched_through_v(fra: FakeRegion, ada: Client) -> None:
    async with followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        await fra.say(fra.happen(text="a"), fra.happen(text="b"))
        await until(lambda: len(got) == 2)
        fra.epoch += 1
        fra.fed.reverse()
        fra.happen(text="c")
        await fra.tell({"type": "resume", "reason": "epoch", "dc": "fra", "epoch": fra.epoch})
        await until(lambda: len(got) == 3)
        await fra.say(fra.happen(text="d"))
        await until(lambda: len(got) == 4)
    assert texts(got) == list("abcd")


async def test_an_end_of_the_session_ends_the_updates(fra: FakeRegion, ada: Client) -> None:
    fra.revoked = True
    with pytest.raises(Unauthenticated):
        async with followed(ada):
            await until(lambda: len(fra.hellos) == 1)
            await asyncio.sleep(0.1)


async def test_a_reset_is_told_and_state_is_loaded_anew(fra: FakeRegion) -> None:
    async with client(fra, keep_state=True) as ada, followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        fra.dialogs = [DIALOG]
        fra.happen(text="trimmed before it was had")
        fra.trimmed = True
        await fra.tell({"type": "poke", "pts": 1})
        await until(lambda: len(got) == 1)
        assert got[0].type == "reset" and ada.stats.resets == 1
        assert ada.state is not None
        assert [one["text"] for one in ada.state.messages["D1"].values()] == ["trimmed before it was had"]


async def test_stale_state_plus_updates_equals_a_fresh_fetch(fra: FakeRegion) -> None:
    fra.dialogs = [DIALOG]
    fra.happen(text="before")
    async with client(fra, keep_state=True) as ada, followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        for n in range(30):
            item = fra.happen(text=str(n))
            if n % 7:
                await fra.say(item)
            if n % 11 == 0:
                await fra.drop()
                await until(lambda: len(fra.sockets) == 1)
        await until(lambda: len(got) == 30)
        assert ada.state is not None
        assert ada.state.snapshot() == (await ada.fresh_state()).snapshot()
        assert len(ada.state.messages["D1"]) == 31


async def test_who_only_loads_marks_what_he_loaded_and_who_follows_loses_nothing_by_loading(fra: FakeRegion) -> None:
    async with client(fra) as reader, client(fra) as follower:
        await follower.begin()
        fra.happen(text="one")
        for one in (reader, follower):
            assert [message.text async for message in one.history("Ubob")] == ["one"]
        assert reader.position is not None and reader.position.pts == 1
        async with followed(follower) as got:
            await until(lambda: texts(got) == ["one"])


async def test_a_mark_waits_until_what_its_place_covers_is_loaded(fra: FakeRegion) -> None:
    fra.happen(text="never shown")
    fra.dialogs = [DIALOG]
    fra.faults.append(Fault("late", "/v1/dialogs", seconds=0.2))
    async with client(fra, keep_state=True) as ada, followed(ada):
        await until(lambda: ada.position is not None)
        await ada.read("Ubob", "1")
        asked = [request.path for request in fra.requests]
        assert asked.index("/v1/dialogs/D1/messages") < asked.index("/v1/dialogs/Ubob/read")


async def test_of_two_that_begin_at_once_none_passes_over_what_the_other_has_to_bring(fra: FakeRegion) -> None:
    for begins in (Client.begin, lambda ada: anext(ada.history("Ubob"), None)):
        async with client(fra) as ada:
            fra.faults.append(Fault("late", "/v1/state", seconds=0.2))
            asked = len(fra.requests)
            slow = asyncio.ensure_future(begins(ada))
            await until(lambda asked=asked: len(fra.requests) > asked)
            begun = asyncio.create_task(ada.begin())
            await asyncio.wait([begun])
            fra.happen(text="after it had begun")
            await slow
            async with followed(ada) as got:
                await until(lambda got=got: texts(got) == ["after it had begun"])


async def test_what_could_not_be_loaded_after_a_reset_is_loaded_later(fra: FakeRegion) -> None:
    options = dataclasses.replace(OPTIONS, give_up_s=0.3)
    fra.dialogs = [DIALOG]
    async with Client([fra.url], "token", user="Uada", keep_state=True, options=options) as ada, followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        fra.trimmed = True
        fra.happen(text="trimmed before it was had")
        fra.faults.extend([Fault("refused", "/v1/dialogs")] * 200)
        await fra.tell({"type": "poke", "pts": 1})
        await until(lambda: [update.type for update in got] == ["reset"])
        fra.faults.clear()
        assert ada.state is not None
        state = ada.state
        wanted = ["trimmed before it was had"]
        await until(lambda: [one["text"] for one in state.messages.get("D1", {}).values()] == wanted)


async def test_a_dialog_that_moves_up_while_pages_are_read_is_loaded(fra: FakeRegion) -> None:
    first, moved, last = ({**DIALOG, "conversation": f"D{n}"} for n in (1, 2, 3))
    fra.pages.extend([([first], "D1"), ([last], None)])  # `moved` went to the top when the first page had been read
    fra.pages.extend([([moved, first], "D1"), ([last], None)] * 2)
    async with client(fra, keep_state=True) as ada, followed(ada):
        await until(lambda: len(fra.sockets) == 1)
        assert ada.state is not None
        assert sorted(ada.state.dialogs) == ["D1", "D2", "D3"]
        assert not fra.pages, "read again until nothing new was seen"


async def test_dialogs_of_one_page_are_read_once(fra: FakeRegion) -> None:
    fra.dialogs = [DIALOG]
    async with client(fra, keep_state=True) as ada, followed(ada):
        await until(lambda: len(fra.sockets) == 1)
    assert [request.path for request in fra.requests].count("/v1/dialogs") == 1


async def test_what_was_loaded_in_a_region_that_is_behind_the_cursor_is_loaded_again(
    fra: FakeRegion, syd: FakeRegion
) -> None:
    fra.dialogs = syd.dialogs = [DIALOG]
    fra.happen(text="has not come to syd yet")
    fra.faults.append(Fault("refused", "/v1/dialogs", retry_after="0.3"))
    syd.faults.append(Fault("late", "/v1/dialogs/D1/messages", seconds=0.3))
    async with client(fra, syd, keep_state=True) as ada, followed(ada):
        await until(lambda: not fra.faults)
        ada.switch(syd.url)
        await until(lambda: "/v1/dialogs/D1/messages" in [request.path for request in syd.requests])
        ada.switch(fra.url)
        await until(lambda: len(fra.sockets) == 1)
        assert ada.state is not None
        assert ada.state.snapshot() == (await ada.fresh_state()).snapshot()
        assert len(ada.state.messages["D1"]) == 1


async def test_the_readme_does_what_it_says(fra: FakeRegion) -> None:
    _, longer = blocks(ROOT / "sdk/python/README.md")  # the first runs in test_sdk_package.py
    names: dict[str, Any] = {}
    exec(compile(longer.text, longer.where, "exec"), names)
    assert await names["main"]([fra.url], "token") == ["Hello", "one", "two"]


# -- what a stranger does


async def test_updates_that_were_not_taken_before_the_loop_was_left_come_in_the_next_one(
    fra: FakeRegion, ada: Client
) -> None:
    await ada.begin()
    for text in "abc":
        fra.happen(text=text)
    heard = []
    for _ in range(3):
        async with contextlib.aclosing(ada.updates()) as updates:
            async for update in updates:
                heard.append(update.message.text if update.message else None)
                break
    assert heard == ["a", "b", "c"]


@pytest.mark.parametrize("end", ["switch", "close"])
async def test_a_stream_that_is_just_being_opened_hears_of_a_change(fra: FakeRegion, syd: FakeRegion, end: str) -> None:
    async with aiohttp.ClientSession() as session, client(fra, syd, session=session) as ada:
        fra.faults.append(Fault("late", "/v1/stream", seconds=0.3))
        async with followed(ada):
            await until(lambda: "/v1/stream" in [request.path for request in fra.requests])
            if end == "close":
                await ada.close()
                await until(lambda: len(fra.sockets) == 0 and not ada._follower.following)
            else:
                ada.switch(syd.url)
                await until(lambda: len(syd.sockets) == 1)
                await until(lambda: len(fra.sockets) == 0)


async def test_what_waits_in_the_outbox_is_sent_by_itself_when_the_region_is_back(fra: FakeRegion) -> None:
    options = Options(request_timeout_s=0.2, give_up_s=0.3, backoff_first_s=0.01, backoff_max_s=0.05)
    async with Client([fra.url], "token", options=options) as ada:
        fra.faults.extend([Fault("lost")] * 1_000)
        with pytest.raises(Unreachable) as away:
            await ada.send("Ubob", "hi")
        fra.faults.clear()
        await until(lambda: list(fra.keys) == [away.value.key])
        await until(lambda: ada.unsent == 0)


async def test_a_client_that_is_started_again_goes_on_where_it_was(fra: FakeRegion, syd: FakeRegion) -> None:
    async with client(fra, syd) as ada, followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        await fra.say(fra.happen(text="had"))
        await until(lambda: len(got) == 1)
        kept = await ada.send("Ubob", "only fra has it")
        await fra.say(fra.item(2))
        await until(lambda: len(got) == 2)
        saved = ada.saved()
    fra.happen(text="meanwhile")
    async with client(fra, syd, saved=json.loads(json.dumps(saved))) as ada, followed(ada) as got:
        await until(lambda: texts(got) == ["meanwhile"])
        assert fra.hellos[-1]["at"]["pts"] == 2
        ada.switch(syd.url)
        await ada.settled()
        assert list(syd.keys) == [kept.key], "the outbox came with it"
        assert syd.requests[0].clock, "and so did the clock"


async def test_what_waited_when_the_client_ended_is_sent_by_the_next_one(fra: FakeRegion) -> None:
    options = Options(request_timeout_s=0.2, give_up_s=0.3, backoff_first_s=0.01, backoff_max_s=0.05)
    async with Client([fra.url], "token", options=options) as ada:
        fra.faults.extend([Fault("lost")] * 1_000)
        with pytest.raises(Unreachable) as away:
            await ada.send("Ubob", "hi")
        saved = ada.saved()
    assert not fra.keys
    fra.faults.clear()
    async with Client([fra.url], "token", options=options, saved=saved) as ada:
        assert ada.unsent == 1
        await until(lambda: list(fra.keys) == [away.value.key])


async def test_a_cursor_is_taken_anew_after_some_updates_of_the_stream(fra: FakeRegion, syd: FakeRegion) -> None:
    options = dataclasses.replace(OPTIONS, cursor_after=4)
    async with Client([fra.url, syd.url], "token", user="Uada", options=options) as ada, followed(ada) as got:
        await until(lambda: len(fra.sockets) == 1)
        for n in range(10):
            await fra.say(fra.happen(text=str(n), id=n + 1 << 16 | 3))
            await until(lambda n=n: len(got) == n + 1 and ada.stats.fetches == (n + 1) // 4)
        assert ada.stats.fetches == 2 and ada.stats.fetched == 0
        for n in range(11):
            syd.happen(text=str(n), id=n + 1 << 16 | 3)
        ada.switch(syd.url)
        await until(lambda: len(got) == 11)
        assert ada.stats.fetched == 3, "two that came after the cursor, and the new one"


async def test_what_is_saved_between_two_updates_of_one_frame_misses_none(fra: FakeRegion, ada: Client) -> None:
    await ada.begin()
    for text in "abc":
        fra.happen(text=text)
    async with contextlib.aclosing(ada.updates()) as updates:
        first = await anext(updates)
        assert first.message is not None and first.message.text == "a"
        saved = ada.saved()
    async with client(fra, saved=saved) as again, followed(again) as got:
        await until(lambda: texts(got)[-2:] == ["b", "c"])


async def test_of_one_frame_only_what_was_taken_counts_as_had_when_it_is_saved(fra: FakeRegion, ada: Client) -> None:
    async with contextlib.aclosing(ada.updates()) as updates:
        following = asyncio.create_task(anext(updates))
        await until(lambda: len(fra.sockets) == 1)
        await fra.say(*[fra.happen(text=text) for text in "abc"])
        assert (first := (await following).message) is not None and first.text == "a"
        saved = ada.saved()
    async with client(fra, saved=saved) as again, followed(again) as got:
        await until(lambda: texts(got)[-2:] == ["b", "c"])


@pytest.mark.parametrize("fetched", [False, True])
async def test_what_was_taken_of_a_frame_or_a_page_when_it_was_saved_does_not_come_again(
    fra: FakeRegion, ada: Client, fetched: bool
) -> None:
    await ada.begin()
    for text in "abcde":
        fra.happen(text=text)
    fra.epoch += fetched
    async with contextlib.aclosing(ada.updates()) as updates:
        saved = []
        for text in "abcde":
            assert (message := (await anext(updates)).message) is not None and message.text == text
            saved.append(ada.saved())
    fra.happen(text="end")
    for taken, one in enumerate(saved, 1):
        async with client(fra, saved=one) as again, followed(again) as got:
            await until(lambda got=got: texts(got)[-1:] == ["end"])
            assert texts(got) == [*"abcde"[taken:], "end"]


async def test_what_was_saved_for_another_user_or_version_is_refused(fra: FakeRegion, ada: Client) -> None:
    saved = ada.saved()
    for wrong in (saved | {"version": 99}, saved | {"user": "Ubob"}, {}):
        with pytest.raises(ValueError, match="saved"):
            client(fra, saved=wrong)


async def test_a_write_that_is_refused_when_it_is_sent_again_is_counted(fra: FakeRegion, syd: FakeRegion) -> None:
    async with client(fra, syd) as ada:
        await ada.send("Ubob", "hi")
        syd.faults.append(Fault("refused", status=403, code="forbidden"))
        ada.switch(syd.url)
        await ada.settled()
        assert ada.stats.refused == 1 and len(ada._writer.outbox) == 0

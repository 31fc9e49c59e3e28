"""sdk/js against a small region with scripted faults (tests/support/fake_region.py), over real sockets: what
test_sdk.py asks of the Python SDK."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.fake_region import FakeRegion, Fault, clock_of
from tests.support.node_client import Driver, NodeClient, Refused, driver

pytestmark = pytest.mark.timeout(60)
OPTIONS = {
    "requestTimeoutMs": 500,
    "giveUpMs": 5_000,
    "backoffFirstMs": 10,
    "backoffMaxMs": 100,
    "resendAfterMs": 200,
    "spreadMs": 10,
}
BRIEF = OPTIONS | {"requestTimeoutMs": 200, "giveUpMs": 300, "backoffMaxMs": 50}
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
async def node() -> AsyncIterator[Driver]:
    async with driver() as made:
        yield made


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
async def ada(node: Driver, regions: tuple[FakeRegion, FakeRegion]) -> NodeClient:
    return await client(node, *regions)


async def client(node: Driver, *regions: FakeRegion, options: dict[str, Any] = OPTIONS, **more: Any) -> NodeClient:
    return await node.client([region.url for region in regions], "token", user="Uada", options=options, **more)


async def followed(one: NodeClient, region: FakeRegion) -> None:
    """Follows, over the stream."""
    await one.follow()
    await until(lambda: len(region.sockets) == 1)


async def until(true: Callable[..., bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  (the far side tells nobody)
            await asyncio.sleep(0.005)


async def until_it_is(one: NodeClient, what: str, wanted: Any) -> None:
    async with asyncio.timeout(10):
        while await one.get(what) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# -- writes


@pytest.mark.parametrize("kind", ["lost", "answer_lost"])
async def test_a_write_is_repeated_under_its_key_and_done_once(fra: FakeRegion, ada: NodeClient, kind: str) -> None:
    fra.faults.extend([Fault(kind), Fault(kind)])
    receipt = await ada.call("send", "Ubob", "hi")
    keys = fra.keys_of("/v1/messages")
    assert len(keys) == 3 and set(keys) == {receipt["key"]}
    assert len(fra.fed) == 1 and receipt["id"] == fra.fed[0]["event"]
    assert (await ada.get("stats"))["retries"] == 2


async def test_a_late_answer_is_not_waited_for_for_ever(fra: FakeRegion, ada: NodeClient) -> None:
    fra.faults.append(Fault("late", seconds=3))
    assert await ada.call("send", "Ubob", "hi")
    assert len(fra.keys_of("/v1/messages")) == 2 and len(fra.keys) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(503, "overloaded"), (429, "too_many_requests"), (409, "not_yet_here"), (409, "clock_ahead")]
)
async def test_a_pause_that_the_server_asks_for_is_kept(
    fra: FakeRegion, ada: NodeClient, status: int, code: str
) -> None:
    fra.faults.append(Fault("refused", status=status, code=code, retry_after="0.3"))
    begun = time.monotonic()
    await ada.call("send", "Ubob", "hi")
    assert time.monotonic() - begun >= 0.3
    assert len(fra.keys_of("/v1/messages")) == 2 and len(set(fra.keys_of("/v1/messages"))) == 1


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [(400, "invalid", "ApiError"), (422, "key_reused", "ApiError"), (403, "forbidden", "ApiError")],
)
async def test_a_refusal_is_told_at_once_and_nothing_is_kept(
    fra: FakeRegion, ada: NodeClient, status: int, code: str, name: str
) -> None:
    fra.faults.append(Fault("refused", status=status, code=code))
    with pytest.raises(Refused) as refused:
        await ada.call("send", "Ubob", "hi")
    assert (refused.value.name, refused.value.code) == (name, code)
    assert len(fra.keys_of("/v1/messages")) == 1
    assert (await ada.call("saved"))["outbox"]["writes"] == []


async def test_a_write_of_a_session_that_is_over_stays_for_another_token(fra: FakeRegion, ada: NodeClient) -> None:
    fra.faults.append(Fault("refused", status=401, code="unauthenticated"))
    with pytest.raises(Refused, match="Unauthenticated"):
        await ada.call("send", "Ubob", "hi")
    assert await ada.get("unsent") == 1


async def test_a_region_that_is_away_too_long_leaves_the_write_in_the_outbox(node: Driver, fra: FakeRegion) -> None:
    ada = await client(node, fra, options=BRIEF)
    fra.faults.extend([Fault("lost")] * 50)
    with pytest.raises(Refused, match="Unreachable") as away:
        await ada.call("send", "Ubob", "hi")
    assert not fra.keys
    fra.faults.clear()
    await until(lambda: list(fra.keys) == [away.value.key])
    await ada.call("settled")
    assert await ada.get("unsent") == 0 and len(fra.fed) == 1


async def test_a_full_outbox_says_so_and_sends_nothing(node: Driver, fra: FakeRegion) -> None:
    ada = await client(node, fra, options=BRIEF | {"outboxMax": 2})
    fra.faults.extend([Fault("lost")] * 1_000)
    for text in "ab":
        with pytest.raises(Refused, match="Unreachable"):
            await ada.call("send", "Ubob", text)
    with pytest.raises(Refused, match="OutboxFull"):
        await ada.call("send", "Ubob", "c")
    fra.faults.clear()
    await ada.call("settled")
    assert [one["message"]["text"] for one in fra.fed] == ["a", "b"], "in the order of writing"
    await ada.call("send", "Ubob", "d")
    assert (await ada.get("stats"))["evicted"] == 1, "what is acknowledged makes room"


async def test_each_message_of_a_batch_has_its_own_outcome(fra: FakeRegion, ada: NodeClient) -> None:
    fra.faults.append(Fault("item", "text:busy", code="overloaded"))
    fra.faults.append(Fault("item", "text:bad", status=404, code="not_found"))
    drafts = [{"to": to, "text": text} for to, text in (("Ubob", "one"), ("Ubob", "busy"), ("Unobody", "bad"))]
    one, busy, bad = await ada.call("sendMany", drafts)
    assert (bad["error"]["status"], bad["error"]["code"]) == (404, "not_found")
    first, second = [request.body["messages"] for request in fra.requests if request.path.endswith("/batch")]
    assert [message["text"] for message in second] == ["busy"] and second[0]["key"] == first[1]["key"]
    assert list(fra.keys) == [one["key"], busy["key"]]


async def test_a_batch_whose_answer_is_lost_is_done_once(fra: FakeRegion, ada: NodeClient) -> None:
    fra.faults.append(Fault("answer_lost", "/v1/messages/batch"))
    outcomes = await ada.call("sendMany", [{"to": "Ubob", "text": str(n)} for n in range(250)])
    assert [one["id"] for one in outcomes] == [one["event"] for one in fra.fed]
    assert len(fra.fed) == 250


# -- regions


async def test_after_some_failures_the_next_region_is_used_with_the_same_key(
    fra: FakeRegion, syd: FakeRegion, ada: NodeClient
) -> None:
    fra.faults.extend([Fault("lost")] * 50)
    receipt = await ada.call("send", "Ubob", "hi")
    assert await ada.get("region") == syd.url
    assert len(fra.keys_of("/v1/messages")) == 3, "triesPerRegion"
    assert list(syd.keys) == [receipt["key"]] == list(set(fra.keys_of("/v1/messages")))


@pytest.mark.parametrize("wrong", ["fra.example.com", "ftp://fra.example.com", "http://", ""])
async def test_a_region_that_is_no_address_is_refused_at_once(node: Driver, ada: NodeClient, wrong: str) -> None:
    with pytest.raises(Refused, match=r"TypeError: .*give its address"):
        await node.client([wrong], "token")
    with pytest.raises(Refused, match=r"TypeError: .*give its address"):
        await ada.call("switch", wrong)


async def test_what_the_new_region_does_not_cover_is_sent_again_and_the_rest_is_not(
    fra: FakeRegion, syd: FakeRegion, ada: NodeClient
) -> None:
    known, lost = await ada.call("send", "Ubob", "known"), await ada.call("send", "Ubob", "lost")
    syd.v[1] = int(known["id"])
    await ada.call("switch", syd.url)
    await ada.call("settled")
    assert list(syd.keys) == [lost["key"]]
    assert (await ada.get("stats"))["resent"] == 1
    kept = (await ada.call("saved"))["outbox"]["writes"]
    assert [write["key"] for write in kept] == [lost["key"]], "only syd has it, perhaps"


async def test_an_edit_of_a_message_that_was_sent_again_names_its_new_id(
    fra: FakeRegion, syd: FakeRegion, ada: NodeClient
) -> None:
    old = await ada.call("send", "Ubob", "hi")
    await ada.call("switch", syd.url)
    await ada.call("settled")
    new = str(syd.keys[old["key"]])
    assert new != old["id"]
    with pytest.raises(Refused):  # this small region knows no edits
        await ada.call("edit", old["id"], "better")
    assert syd.requests[-1].path == f"/v1/messages/{new}"


async def test_what_was_seen_in_one_region_is_told_to_the_next(
    fra: FakeRegion, syd: FakeRegion, ada: NodeClient
) -> None:
    fra.v[3] = 2**62  # beyond what a number holds exactly
    fra.v[4] = 2**62 - 1
    await ada.call("send", "Ubob", "hi")
    await ada.call("switch", syd.url)
    await ada.call("settled")
    assert {request.clock for request in syd.requests} == {clock_of(2**62)}
    await ada.call("see", clock_of(2**62 - 1))
    assert await ada.get("clock") == clock_of(2**62)


# -- updates


async def test_updates_come_over_the_stream_and_holes_are_fetched(fra: FakeRegion, ada: NodeClient) -> None:
    await followed(ada, fra)
    await fra.say(fra.happen(text="a"))
    lost = fra.happen(text="lost on the way")
    await fra.say(fra.happen(text="c"))
    await fra.say(lost)
    await until(lambda: ada.texts() == ["a", "lost on the way", "c"])
    stats = await ada.get("stats")
    assert (stats["holes"], stats["missed"], stats["fetches"]) == (1, 0, 1)
    assert stats["fetched"] == 2, "and not again what the stream had brought"


async def test_a_poke_or_a_heartbeat_ahead_is_fetched(fra: FakeRegion, ada: NodeClient) -> None:
    await followed(ada, fra)
    fra.happen(text="poked")
    await fra.tell({"type": "poke", "pts": 1})
    await until(lambda: ada.texts() == ["poked"])
    fra.happen(text="beaten")
    await fra.tell({"type": "heartbeat", "pts": 2, "channels": {}})
    await until(lambda: ada.texts() == ["poked", "beaten"])


@pytest.mark.parametrize("code", [1001, 1013, 4001, 4008])
async def test_a_stream_that_ends_is_resumed_where_it_was(fra: FakeRegion, ada: NodeClient, code: int) -> None:
    await followed(ada, fra)
    await fra.say(fra.happen(text="a"))
    await until(lambda: ada.texts() == ["a"])
    await fra.drop(code)
    fra.happen(text="b")
    await until(lambda: ada.texts() == ["a", "b"])
    assert fra.hellos[-1]["at"]["pts"] == 1 and await ada.get("region") == fra.url


@pytest.mark.parametrize(("code", "name"), [(4003, "Unauthenticated"), (4401, "Unauthenticated"), (4409, "Replaced")])
async def test_a_stream_that_is_not_to_be_resumed_ends_the_updates(
    fra: FakeRegion, ada: NodeClient, code: int, name: str
) -> None:
    await followed(ada, fra)
    await fra.say(fra.happen(text="a"))  # Node forgets the code of a stream that ends with its first frame
    await until(lambda: ada.texts() == ["a"])
    await fra.drop(code)
    await until(lambda: bool(ada.ended))
    assert ada.ended[0] is not None and ada.ended[0]["name"] == name
    assert len(fra.hellos) == 1


async def test_a_silent_stream_is_given_up(node: Driver, fra: FakeRegion) -> None:
    fra.heartbeat_s = 0.1
    ada = await client(node, fra)
    await followed(ada, fra)
    await until(lambda: len(fra.hellos) >= 2)


async def test_a_region_that_is_gone_is_left_without_a_gap_and_without_doubles(
    fra: FakeRegion, syd: FakeRegion, ada: NodeClient
) -> None:
    await followed(ada, fra)
    for n in range(3):
        key = f"k{n}"
        item = fra.happen(key=key, text=key)
        syd.happen(key=key, text=key, id=int(item["update"]["event"]))
        await fra.say(item)
    await until(lambda: len(ada.got) == 3)
    syd.happen(key="k3", text="k3")
    await fra.stop()
    await until(lambda: len(ada.got) == 4)
    assert ada.firsts() == Counter({f"k{n}": 1 for n in range(4)})
    assert await ada.get("region") == syd.url
    stats = await ada.get("stats")
    assert stats["switches"] == 1 and stats["missed"] == 0 and stats["repeated"] == 3


async def test_an_event_that_shows_a_thing_anew_is_no_double(fra: FakeRegion, ada: NodeClient) -> None:
    await followed(ada, fra)
    item = fra.happen(key="k", text="old")
    await fra.say(item)
    fra.fed.append(item["update"] | {"message": item["update"]["message"] | {"text": "new"}})
    fra.fed.append(item["update"])
    await fra.say(fra.item(2), fra.item(2) | {"pts": 3})
    await fra.say(fra.item(3) | {"pts": 4})
    await until(lambda: ada.texts() == ["old", "new", "old"])
    assert [one["first"] for one in ada.got] == [True, False, False]
    assert (await ada.get("stats"))["repeated"] == 1


async def test_what_is_too_old_is_loaded_anew(node: Driver, fra: FakeRegion) -> None:
    fra.dialogs = [DIALOG]
    ada = await client(node, fra, keepState=True)
    await followed(ada, fra)
    await fra.drop()
    fra.happen(text="trimmed")
    fra.trimmed = True
    fra.epoch += 1
    await until(lambda: any(one["type"] == "reset" for one in ada.got))
    wanted = {"D1": {one["event"]: one["message"] for one in fra.fed}}

    async with asyncio.timeout(10):
        while (await ada.snapshot())["messages"] != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await ada.snapshot() == await ada.snapshot(fresh=True)


async def test_a_slow_reader_gives_the_stream_up_and_misses_nothing(node: Driver, fra: FakeRegion) -> None:
    ada = await client(node, fra, options=OPTIONS | {"framesMax": 3, "cursorAfter": 1_000})
    await ada.follow(pause_ms=20)
    await until(lambda: len(fra.sockets) == 1)
    for n in range(30):
        await fra.say(fra.happen(text=str(n)))
    await until(lambda: len(ada.got) == 30)
    assert ada.texts() == [str(n) for n in range(30)]
    assert (await ada.get("stats"))["reconnects"] > 0 and await ada.get("region") == fra.url


async def test_a_closed_client_ends_its_updates_and_its_calls(node: Driver, fra: FakeRegion) -> None:
    ada = await client(node, fra, options=OPTIONS | {"requestTimeoutMs": 30_000})
    await followed(ada, fra)
    fra.faults.append(Fault("late", "/v1/dialogs", seconds=3))
    asked = asyncio.create_task(ada.every("dialogs"))
    await until(lambda: any(request.path == "/v1/dialogs" for request in fra.requests))
    await ada.call("close")
    await until(lambda: ada.ended == [None])
    for call in (asked, ada.call("send", "Ubob", "hi"), ada.call("me")):
        with pytest.raises(Refused, match="Closed"):
            await call


# -- over a reload


async def test_what_waited_at_a_reload_is_sent_by_the_next_client(node: Driver, fra: FakeRegion) -> None:
    ada = await client(node, fra, options=BRIEF)
    fra.faults.extend([Fault("lost")] * 1_000)
    with pytest.raises(Refused, match="Unreachable") as away:
        await ada.call("send", "Ubob", "hi")
    saved = await ada.call("saved")
    await ada.call("close")
    fra.faults.clear()
    assert not fra.keys
    again = await client(node, fra, saved=saved)
    await until(lambda: list(fra.keys) == [away.value.key])
    await until_it_is(again, "unsent", 0)
    assert len(fra.fed) == 1


async def test_updates_go_on_after_a_reload_where_they_were(node: Driver, fra: FakeRegion, syd: FakeRegion) -> None:
    ada = await client(node, fra, syd)
    await followed(ada, fra)
    await fra.say(fra.happen(text="had"))
    await until(lambda: ada.texts() == ["had"])
    kept = await ada.call("send", "Ubob", "only fra has it")
    await fra.say(fra.item(2))
    await until(lambda: len(ada.got) == 2)
    saved = await ada.call("saved")
    await ada.call("close")
    fra.happen(text="meanwhile")
    again = await client(node, fra, syd, saved=saved)
    await again.follow()
    await until(lambda: again.texts() == ["meanwhile"])
    assert fra.hellos[-1]["at"]["pts"] == 2
    await again.call("switch", syd.url)
    await again.call("settled")
    assert list(syd.keys) == [kept["key"]], "the outbox came with it"
    assert syd.requests[0].clock, "and so did the clock"


@pytest.mark.parametrize("page", [3, 100])
@pytest.mark.parametrize("streamed", [True, False])
async def test_whatever_was_taken_when_it_was_saved_does_not_come_again_and_nothing_is_missed(
    node: Driver, fra: FakeRegion, page: int, streamed: bool
) -> None:
    """A frame or a page of several updates, saved after each of them."""
    fra.page = page
    ada = await client(node, fra, options=OPTIONS | {"page": page})
    await ada.call("begin")
    items = [fra.happen(text=str(n)) for n in range(7)]
    if not streamed:
        fra.epoch += 1  # they are fetched
    await ada.follow(pause_ms=1)
    await until(lambda: len(ada.got) == len(items))
    for n, saved in enumerate(list(ada.saved), 1):
        again = await client(node, fra, saved=saved)
        await again.follow()
        rest = [str(one) for one in range(n, 7)]
        await until(lambda again=again, rest=rest: len(again.texts()) >= len(rest))
        await fra.say(fra.happen(text=f"end {n}"))
        await until(lambda again=again, n=n: again.texts()[-1:] == [f"end {n}"])
        assert [text for text in again.texts() if text and not text.startswith("end")] == rest
        await again.call("close")
        await until(lambda: len(fra.sockets) == 1)


async def test_what_was_saved_for_another_user_or_version_is_refused(
    node: Driver, fra: FakeRegion, ada: NodeClient
) -> None:
    saved = await ada.call("saved")
    for wrong in (saved | {"version": 99}, saved | {"user": "Ubob"}, {}):
        with pytest.raises(Refused, match="saved"):
            await client(node, fra, saved=wrong)

"""A DC's write path end to end over memory adapters: commit, apply, view, updates, recovery."""

import asyncio

import msgspec
import pytest

from core import limits
from core.messages import Row, fold
from core.system import wall_clock_ms
from events.codec import codec
from stores import render
from tests.support.dc import OneDc


async def people(dc: OneDc, *users: str) -> None:
    for user in users:
        await dc.do("user.upsert", "sys", user=user, name=user[1:].title())


@pytest.fixture
async def dc():
    one = await OneDc().start()
    yield one
    await one.stop()


async def shown(dc: OneDc, user: str) -> list[dict]:
    found = await dc.hot.updates(user, 0, 1000)
    return await render.render_all(dc.view, [render.decode(entry) for entry in found.entries], user)


async def overhear(dc: OneDc) -> tuple[list[bytes], asyncio.Task[None]]:
    """The frames that brokers are told from now on."""
    frames: list[bytes] = []

    async def listen() -> None:
        async for frame in dc.hot.listen():
            frames.append(frame)

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    return frames, listener


async def test_a_direct_message_reaches_both_and_counts_as_unread_for_the_other(dc):
    await people(dc, "Uada", "Ubob")
    sent = await dc.do("message.send", "Uada", "k1", to="Ubob", text="hi")
    conversation = sent.args.conversation
    for user, unread in (("Uada", 0), ("Ubob", 1)):
        assert [u["message"]["text"] for u in await shown(dc, user) if u["type"] == "message"] == ["hi"]
        assert (await dc.hot.unread(user, [(conversation, 0)]))[0].number == unread
        assert (await dc.hot.dialogs(user, [], [], None, 10)) == [(conversation, sent.id)]


async def test_an_update_shows_the_present_state_so_a_recall_leaves_no_text(dc):
    await people(dc, "Uada", "Ubob")
    sent = await dc.do("message.send", "Uada", "k1", to="Ubob", text="hi")
    await dc.do("message.recall", "Uada", "k2", message=str(sent.id), **{"for": "all"})
    assert [u["message"]["text"] for u in await shown(dc, "Ubob") if u["type"] == "message"] == [None, None]


async def test_hot_state_is_rebuilt_as_a_new_epoch_when_it_is_lost(dc):
    await people(dc, "Uada", "Ubob")
    first = await dc.do("message.send", "Uada", "k1", to="Ubob", text="one")
    epoch = dc.applier.epoch
    dc.hot.lose()
    second = await dc.do("message.send", "Uada", "k2", to="Ubob", text="two")
    assert dc.applier.epoch == epoch + 1
    assert [u["message"]["text"] for u in await shown(dc, "Ubob") if u["type"] == "message"] == ["one", "two"]
    assert (await dc.hot.unread("Ubob", [(first.args.conversation, 0)]))[0].number == 2
    assert (await dc.hot.result("Uada", "k1")).event == first.id
    assert await dc.hot.dialogs("Ubob", [], [], None, 10) == [(first.args.conversation, second.id)]


async def test_two_dcs_converge_after_a_cut(dc):
    other = await OneDc("iad", 2).start()
    await people(dc, "Uada", "Ubob")
    await other.pull(dc)
    await dc.do("user.update", "Uada", "a", name="Left")
    await other.do("user.update", "Uada", "b", name="Right")
    await other.pull(dc)
    await dc.pull(other)
    assert (await dc.view.user("Uada")).name == (await other.view.user("Uada")).name
    assert await dc.relational.conflicts() == await other.relational.conflicts() != []
    assert dc.applier.progress.v() == other.applier.progress.v()
    await other.stop()


async def test_an_event_far_ahead_is_applied_and_counted_and_what_came_before_it_moves_the_clock(dc):
    other = await OneDc("nyc", 2).start()
    await people(other, "Uada")
    other.clock._wall = lambda: wall_clock_ms() + limits.CLOCK_SKEW_MS_MAX - 50
    cause = await other.do("user.upsert", "sys", user="Ubob", name="Bob")
    other.clock._wall = lambda: wall_clock_ms() + 3_600_000
    far = await other.do("user.upsert", "sys", user="Uada", name="Ada of tomorrow")
    await dc.pull(other)
    assert (await dc.view.user("Uada")).name == "Ada of tomorrow"
    assert dc.applier.far_ahead == {other.lane: 1}
    effect = await dc.do("user.upsert", "sys", user="Ubob", name="Bobby")
    assert cause.id < effect.id < far.id
    assert (await dc.view.user("Ubob")).name == "Bobby"
    await other.stop()


async def test_cleared_messages_are_not_unread_also_after_a_rebuild(dc):
    await people(dc, "Uada", "Ubob")
    sent = await dc.do("message.send", "Uada", "k1", to="Ubob", text="hi")
    await dc.do("dialog.clear", "Ubob", position=dc.position(), peer="Uada", message=str(sent.id))
    assert (await dc.hot.unread("Ubob", [(sent.args.conversation, 0)]))[0].number == 0
    dc.hot.lose()
    await dc.do("user.update", "Ubob", name="Bob")
    assert (await dc.hot.unread("Ubob", [(sent.args.conversation, 0)]))[0].number == 0


async def test_a_datacenter_that_begins_anew_on_empty_disks_does_not_repeat_an_epoch(dc):
    """A client that comes back with a position from before the fire must not be taken at its word."""
    before_ms = wall_clock_ms()
    rebuilt = await OneDc().start()
    assert rebuilt.applier.epoch >= before_ms >= dc.applier.epoch
    await rebuilt.stop()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reply_to": "7", "to": ["Ua"]},
        {"system": True},
        {"key": ""},
        {"content": {"n": 1}},
        {"thread": "7", "mentions": ["Ub"]},
        {"forwarded": {"from": "Ub", "message": "7"}},
    ],
)
def test_a_message_just_sent_is_announced_as_its_fold_shows_it(more):
    row = Row(42 << 16, "D1", 42 << 16, "send", "Ua", 9, {"text": "hi", "key": "k"} | more)
    entry = render.Entry(row.event, "message", (row.conversation, row.message))
    shown = {"event": str(row.event), "type": "message", "message": fold([row]).shown()}
    assert render.just_sent(entry, row) == shown


async def test_the_brokers_are_told_what_a_reader_would_see(dc):
    """Frame by frame: deliveries with dense pts, and each update as it is rendered for its owner."""
    await people(dc, "Uada", "Ubob")
    frames, listener = await overhear(dc)
    newest = {user: (await dc.hot.pts([user]))[0] for user in ("Uada", "Ubob")}
    sent = await dc.do("message.send", "Uada", "k1", to="Ubob", text="hi")
    await dc.do("reaction.set", "Ubob", "k2", message=str(sent.id), emoji="+1")
    await dc.do("dialog.mute", "Ubob", "k3", peer="Uada", until_ms=5)
    await dc.do("message.send", "Ubob", "k4", to="Uada", text="ho", reply_to=str(sent.id))
    told: dict[str, list[dict]] = {"Uada": [], "Ubob": []}
    for frame in frames:
        deliveries, updates, revoked = msgspec.msgpack.decode(frame)
        assert not revoked
        for owner, pts, place in deliveries:
            newest[owner] += 1
            assert pts == newest[owner]
            told[owner].append(msgspec.json.decode(updates[place]))
    listener.cancel()
    for user, updates in told.items():
        seen = [(one["event"], one["type"]) for one in await shown(dc, user)][-len(updates) :]
        assert [(one["event"], one["type"]) for one in updates] == seen
    assert [one["message"]["text"] for one in told["Ubob"] if one["type"] == "message"] == ["hi", "hi", "ho"]
    assert told["Ubob"][1]["message"]["reactions"] == {"+1": ["Ubob"]}
    assert told["Uada"][-1]["message"]["reply_to"] == str(sent.id)


async def test_what_nobody_hears_is_not_announced_but_a_revocation_is(dc):
    await people(dc, "Uada", "Ubob")
    await dc.do("token.issue", "Uada", "k1", user="Uada", device="phone")
    frames, listener = await overhear(dc)
    dc.heard = {"Ubob"}
    await dc.do("message.send", "Uada", "k2", to="Ubob", text="hi")
    dc.heard = set()
    await dc.do("message.send", "Uada", "k3", to="Ubob", text="ho")
    (session,) = await dc.view.sessions_of("Uada", 0, 9)
    await dc.do("session.revoke", "Uada", "k4", session=session.session)
    await asyncio.sleep(0)
    listener.cancel()
    first, second = [msgspec.msgpack.decode(frame) for frame in frames]
    assert first[0] == [["Ubob", (await dc.hot.pts(["Ubob"]))[0] - 1, 0]] and len(first[1]) == 1
    assert second == [[], [], [session.session]]


async def test_whoever_the_second_copy_of_a_creation_adds_again_is_told(dc):
    """He had left what a retry creates once more in another datacenter, which had not heard of the first creation."""
    other = await OneDc("iad", 2).start()
    await people(dc, "Uada", "Ubob")
    await other.pull(dc)
    made = [
        await one.do("supergroup.create", "Uada", "k1", kind="supergroup", title="x", users=["Ubob"])
        for one in (dc, other)
    ]
    chat = made[0].args.chat
    assert made[1].args.chat == chat
    await dc.do("member.leave", "Ubob", "k2", chat=chat)
    await dc.pull(other)
    last = [update for update in await shown(dc, "Ubob") if update["type"] == "member" and update["user"] == "Ubob"][-1]
    assert last["event"] == str(made[1].id) and last["present"]
    await other.stop()


async def test_what_was_sent_under_a_key_that_another_datacenter_took_meanwhile_is_announced_as_its_copy(dc):
    """The key had no answer here when the second call looked, and the first came before it was written."""
    await people(dc, "Uada", "Ubob")
    other = await OneDc("iad", 2).start()
    await other.pull(dc)
    frames, listener = await overhear(dc)
    first = await other.do("message.send", "Uada", "k1", to="Ubob", text="hi")
    await dc.pull(other)
    second = await dc.do("message.send", "Uada", "k1", to="Ubob", text="hi")
    await other.do("reaction.set", "Ubob", "k2", message=str(first.id), emoji="+1")
    listener.cancel()
    told = [msgspec.json.decode(update) for frame in frames for update in msgspec.msgpack.decode(frame)[1]]
    last = [one["message"] for one in told if one["type"] == "message"][-1]
    assert (last["id"], last["copies"]) == (str(first.id), [str(second.id)])
    await other.stop()


async def test_what_was_acted_on_elsewhere_before_it_was_applied_here_is_announced_with_that(dc):
    """Others read a record as soon as the log holds it: a reaction may be back before its message is applied."""
    await people(dc, "Uada", "Ubob")
    other = await OneDc("iad", 2).start()
    frames, listener = await overhear(dc)
    appended, due, apply = asyncio.Event(), asyncio.Event(), dc.writer._apply

    async def later(entries):
        appended.set()
        await due.wait()
        await apply(entries)

    dc.writer._apply = later
    sending = asyncio.create_task(dc.do("message.send", "Uada", "k1", to="Ubob", text="hi"))
    await appended.wait()
    sent = (await dc.log.tops())[dc.lane].id
    await other.pull(dc)
    await other.do("reaction.set", "Ubob", "k2", message=str(sent), emoji="+1")
    await dc.log.store(await other.log.read(other.lane, 0, 10))
    await dc.applier.apply([codec().entry(record) for record in await dc.log.read(other.lane, 0, 10)])
    due.set()
    await sending
    listener.cancel()
    told = [msgspec.json.decode(update) for frame in frames for update in msgspec.msgpack.decode(frame)[1]]
    shown = [one["message"] for one in told if one["type"] == "message" and "missing" not in one["message"]]
    assert [message["reactions"] for message in shown] == [{"+1": ["Ubob"]}]
    await other.stop()

"""Threads and how many replies they have, against what the messages themselves say: however events came, equal in all
datacenters. A counter would count a copy twice, and a recall that came first not at all."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import Message, Row
from core.replies import Replies, counted
from core.replies import Row as Reply
from stores.view import folded
from tests.support.history import STEP_MAX, USERS, History, Step
from tests.support.mesh import Mesh
from tests.support.rules import A, B, World

STEPS = st.lists(st.builds(Step, *(st.integers(0, most) for most in STEP_MAX)), min_size=1, max_size=80)

MOST = 2
"""Replies that are counted."""


def wanted(rows: Iterable[Row]) -> dict[tuple[int, int], tuple[int, bool]]:
    """(thread, class) -> (message, recalled), by the messages."""
    messages = folded(sorted(rows, key=lambda row: row.event))
    return {(one.thread_class, one.class_): (one.id, one.recalled) for one in messages if one.thread}


def kept(world: Mesh, dc: int) -> dict[tuple[int, int], tuple[int, bool]]:
    rows = world.dcs[dc].state.rows("replies", {})
    return {(row["thread"], row["class_"]): (row["message"], bool(row["recalled"])) for row in rows}


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_a_thread_holds_each_reply_once_in_every_datacenter(steps: list[Step]) -> None:
    mesh = History(Mesh()).play(steps).mesh
    mesh.settle()
    for dc, there in enumerate(mesh.dcs):
        assert kept(mesh, dc) == wanted(there.state.message_rows())


def counts(mesh: Mesh, dc: int, hidden: set[int]) -> dict[int, Replies]:
    """Thread -> what is told of it, as the view does it."""
    rows: dict[int, list[Reply]] = {}
    for row in mesh.dcs[dc].state.rows("replies", {}):
        rows.setdefault(row["thread"], []).append(Reply(row["message"], bool(row["recalled"])))
    found = {thread: counted(sorted(some, reverse=True)[: MOST + 1], MOST, {}, hidden) for thread, some in rows.items()}
    return {thread: told for thread, told in found.items() if told is not None}


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_replies_are_counted_alike_in_every_datacenter_and_as_the_messages_say(steps: list[Step]) -> None:
    mesh = History(Mesh()).play(steps).mesh
    mesh.settle()
    for dc, there in enumerate(mesh.dcs):
        hidden = {row["message"] for row in there.state.rows("hidden", {"user": USERS[0]})}
        threads: dict[int, list[Message]] = {}
        for message in folded(there.state.message_rows()):
            if message.thread:
                threads.setdefault(message.thread_class, []).append(message)
        wanted = {}
        for thread, messages in threads.items():
            shown = [one.id for one in messages[-MOST:] if not one.recalled and one.id not in hidden]
            if shown or len(messages) > MOST:
                wanted[thread] = Replies(len(shown), len(messages) > MOST, max(shown, default=0))
        assert counts(mesh, dc, hidden) == wanted
    assert counts(mesh, 0, set()) == counts(mesh, 1, set())


def test_what_is_recalled_cleared_or_hidden_is_no_reply_that_counts() -> None:
    rows = [Reply(9 << 16 | 1, False), Reply(8 << 16 | 2, True), Reply(7 << 16 | 2, False), Reply(5 << 16 | 1, False)]
    assert counted(rows, 4, {}, ()) == Replies(3, False, 9 << 16 | 1)
    assert counted(rows, 3, {}, {9 << 16 | 1}) == Replies(1, True, 7 << 16 | 2)
    assert counted(rows, 4, {2: 7 << 16 | 2, 1: 5 << 16 | 1}, ()) == Replies(1, False, 9 << 16 | 1), "by the lane"
    assert counted(rows[1:2], 4, {}, ()) is None
    assert counted(rows[1:2] * 2, 1, {}, ()) == Replies(0, True, 0)


def replies(world: World, root: Message, dc: int) -> list[tuple[int, bool]]:
    rows = world.dcs[dc].state.rows("replies", {"thread": root.class_})
    return [(row["message"], bool(row["recalled"])) for row in rows]


def test_the_copies_of_a_reply_are_one_wherever_they_were_taken() -> None:
    world = World()
    said = world.do("message.send", A, to=B, text="x", key="said")
    world.settle()
    first = world.do("message.send", B, dc=0, to=A, text="y", reply_to=str(said.id), key="re")
    world.do("message.send", B, dc=1, to=A, text="y", reply_to=str(said.id), key="re")
    world.settle()
    for dc in (0, 1):
        assert replies(world, world.shown(said), dc) == [(first.id, False)]


def test_a_reply_to_any_copy_of_a_message_is_in_one_thread() -> None:
    """Two datacenters know the root by different ids when it is replied to in both."""
    world = World()
    here = world.do("message.send", A, dc=0, to=B, text="x", key="said")
    there = world.do("message.send", A, dc=1, to=B, text="x", key="said")
    one = world.do("message.send", B, dc=0, to=A, text="1", reply_to=str(here.id))
    two = world.do("message.send", B, dc=1, to=A, text="2", reply_to=str(there.id))
    world.settle()
    assert {world.shown(one).thread, world.shown(two).thread} == {here.id, there.id}
    for dc in (0, 1):
        assert sorted(replies(world, world.shown(here), dc)) == [(one.id, False), (two.id, False)]


def test_a_reply_to_a_reply_is_in_the_same_thread_also_where_the_first_message_has_not_come() -> None:
    world = World()
    said = world.do("message.send", A, dc=0, to=B, text="x")
    reply = world.do("message.send", B, dc=0, to=A, text="y", reply_to=str(said.id))
    world.settle()
    again = world.do("message.send", A, dc=1, to=B, text="z", reply_to=str(reply.id))
    assert (world.shown(again, 1).reply_to, world.shown(again, 1).thread) == (reply.id, said.id)
    world.settle()
    assert len(replies(world, world.shown(said), 0)) == 2


def test_a_recalled_reply_is_not_counted_whichever_comes_first() -> None:
    world = World()
    said = world.do("message.send", A, to=B, text="x")
    world.settle()
    reply = world.do("message.send", B, dc=0, to=A, text="y", reply_to=str(said.id))
    recall = world.do("message.recall", B, dc=0, message=str(reply.id), for_="all")
    there = world.dcs[1]
    there.apply(recall)
    assert replies(world, world.shown(said), 1) == [(reply.id, True)]
    there.apply(reply)
    assert replies(world, world.shown(said), 1) == [(reply.id, True)]

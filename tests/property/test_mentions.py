"""Unread mentions, against what messages and marks say: however events came, the same in all datacenters. A counter
would count copies twice, and a scalar mark would swallow what came late."""

from hypothesis import given, settings
from hypothesis import strategies as st

from core import mentions
from core.errors import Forbidden, Invalid, NotFound
from core.ids import lane_of
from core.mentions import Row
from stores import registers
from stores.view import folded
from tests.support.history import STEP_MAX, USERS, History, Step
from tests.support.mesh import Mesh
from tests.support.rules import A, B, C, World
from tests.support.view import members_of

STEPS = st.lists(st.builds(Step, *(st.integers(0, most) for most in STEP_MAX)), min_size=1, max_size=80)


def marks_of(mesh: Mesh, dc: int, user: str, conversation: str) -> list[dict[int, int]]:
    where = {"user": user, "conversation": conversation}
    return [
        {row["lane"]: row["mark"] for row in mesh.dcs[dc].state.rows(table, where)}
        for table in ("read_marks", "clear_marks")
    ]


def counted(mesh: Mesh, dc: int, user: str, conversation: str, joined_at: int = 0) -> list[int]:
    """As the view does it, of all there are."""
    state = mesh.dcs[dc].state
    named = (user, mentions.ALL) if conversation[0] == "G" else (user,)
    rows = [
        registers.mention(row)
        for one in named
        for row in state.rows("mentions", {"user": one, "conversation": conversation})
    ]
    return [ids[0] for ids in mentions.unread(rows, user, marks_of(mesh, dc, user, conversation), joined_at)]


def wanted(mesh: Mesh, dc: int, user: str, conversation: str, joined_at: int = 0) -> list[int]:
    """By the messages themselves."""
    messages = folded(mesh.dcs[dc].state.message_rows())
    marks = marks_of(mesh, dc, user, conversation)
    return [
        one.id
        for one in messages
        if one.conversation == conversation
        and {user, mentions.ALL} & set(one.mentions)
        and one.sender != user
        and not one.recalled
        and all(id > max(joined_at, *(mark.get(lane_of(id), 0) for mark in marks)) for id in one.ids)
    ]


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_names_a_user_and_is_unread_counts_once_in_every_datacenter(steps: list[Step]) -> None:
    mesh = History(Mesh()).play(steps).mesh
    mesh.settle()
    for dc, there in enumerate(mesh.dcs):
        for conversation in {row.conversation for row in there.state.message_rows()}:
            for user in USERS:
                joined = members_of(there.state, conversation).get(user)
                since = joined.joined_at if joined else 0
                assert counted(mesh, dc, user, conversation, since) == wanted(mesh, dc, user, conversation, since)


def row(id: int, lane: int, class_: int = 0, sender: str = A, recalled: bool = False) -> Row:
    return Row(id << 16 | lane, class_ or id, sender, recalled)


def test_a_late_message_below_a_read_one_of_another_lane_still_counts() -> None:
    rows = [row(5, 1), row(3, 2), row(9, 1)]
    assert mentions.unread(rows, B, [{1: 5 << 16 | 1}], 0) == [[3 << 16 | 2], [9 << 16 | 1]]


def test_copies_are_one_mention_that_is_read_or_recalled_under_any_id() -> None:
    rows = [row(5, 1, class_=7), row(6, 2, class_=7)]
    assert mentions.unread(rows, B, [{}], 0) == [[5 << 16 | 1, 6 << 16 | 2]]
    assert mentions.unread(rows, B, [{2: 6 << 16 | 2}], 0) == []
    assert mentions.unread([*rows, row(5, 1, class_=7, recalled=True)], B, [{}], 0) == []
    assert mentions.seen([[1, 2], [3]], {2}) == [3]


def test_what_was_before_he_joined_and_his_own_do_not_count() -> None:
    assert mentions.unread([row(5, 1)], B, [], 5 << 16 | 1) == []
    assert mentions.unread([row(5, 1, sender=B)], B, [], 0) == []


def test_only_who_is_in_the_conversation_is_mentioned() -> None:
    world = World()
    for to in (world.group, world.supergroup):
        said = world.do("message.send", A, to=to, text="x", mentions=[B, A, B])
        assert world.shown(said).mentions == (B,)
        world.refused(NotFound, "message.send", A, to=to, text="x", mentions=[C])
    said = world.do("message.send", A, to=B, text="x", mentions=[B])
    assert counted(world, 0, B, said.args.conversation) == [said.id]
    world.refused(NotFound, "message.send", A, to=B, text="x", mentions=[C])
    world.refused(Invalid, "message.send", A, to=B, text="x", mentions=["all"])


def test_owner_and_admins_mention_all_of_a_group() -> None:
    world = World()
    world.do("member.add", A, chat=world.group, users=[C])
    said = world.do("message.send", A, to=world.group, text="x", mentions=["all"])
    assert [counted(world, 0, user, world.group) for user in (A, B, C)] == [[], [said.id], [said.id]]
    world.refused(Forbidden, "message.send", B, to=world.group, text="x", mentions=["all"])
    world.refused(Invalid, "message.send", A, to=world.supergroup, text="x", mentions=["all"])
    world.do("member.role", A, chat=world.group, user=B, role="admin")
    world.do("message.send", B, to=world.group, text="x", mentions=["all"])


def test_a_recall_takes_a_mention_from_all_whom_any_copy_reached() -> None:
    """The recall's origin knows one copy; the other one, taken where more were members, comes later."""
    world = World()
    world.do("message.send", A, dc=0, to=world.group, text="x", mentions=["all"], key="m")
    world.do("member.add", A, dc=1, chat=world.group, users=[C])
    copy = world.do("message.send", A, dc=1, to=world.group, text="x", mentions=["all"], key="m")
    first = next(event for event in world.events if event.action == "message.send")
    world.do("message.recall", A, dc=0, message=str(first.id), for_="all")
    assert counted(world, 1, C, world.group) == [copy.id]
    world.settle()
    for dc in (0, 1):
        assert [counted(world, dc, user, world.group) for user in (B, C)] == [[], []]

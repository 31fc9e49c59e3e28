"""What each action allows, refuses and writes, through `resolve` at one DC or two."""

import pytest

from core import ids, limits
from core.access import may_read
from core.errors import Conflict, Forbidden, Full, Gone, Invalid, NotFound
from core.event import Event
from core.membership import Add, Membership
from core.messages import Message
from core.ownership import owner_of
from core.passwords import hashed, matches
from core.tables import MESSAGE_ROWS
from tests.support.mesh import ACTIONS
from tests.support.rules import A, B, C, D, World
from tests.support.view import members_of


@pytest.fixture
def world() -> World:
    return World()


# -- users and sessions


def test_only_the_system_or_the_user_himself_makes_a_user(world: World) -> None:
    world.refused(Forbidden, "user.upsert", A, user=B, name="x")
    assert world.do("user.upsert", "Unew", user="Unew", name="New").args.user == "Unew"


def test_a_password_is_kept_as_a_salted_hash(world: World) -> None:
    first = world.do("user.upsert", "sys", user=A, name="a", password="correct horse").args.fields["password"]
    second = world.do("user.upsert", "sys", user=B, name="b", password="correct horse").args.fields["password"]
    assert first != second
    assert matches("correct horse", first)
    assert not matches("wrong horse", first)
    assert not matches("", "")
    assert "horse" not in str(world.logs)
    assert hashed("x", b"0" * 16) == hashed("x", b"0" * 16)


def test_two_fields_written_in_two_dcs_both_stay(world: World) -> None:
    world.do("user.update", A, dc=0, name="Ada")
    world.do("user.update", A, dc=1, avatar="F1")
    world.settle()
    for dc in world.dcs:
        (row,) = dc.state.rows("users", {"user": A})
        assert (row["name"], row["avatar"]) == ("Ada", "F1")


def test_an_overwrite_names_what_it_overwrote(world: World) -> None:
    first = world.do("user.update", A, name="one")
    second = world.do("user.update", A, name="two", about="x")
    assert second.args.basis == {"name": first.id, "about": 0}


def test_a_session_is_opened_by_its_user_or_the_system_and_is_one_per_key(world: World) -> None:
    world.refused(Forbidden, "token.issue", A, user=B, device="phone")
    world.refused(NotFound, "token.issue", "sys", user="Unobody", device="phone")
    here = world.do("token.issue", A, key="login", user=A, device="phone")
    there = world.do("token.issue", A, dc=1, key="login", user=A, device="phone")
    assert here.args.session == there.args.session
    assert here.args.expires_ms == world.now_ms - 20 + limits.SESSION_DAYS * 86_400_000
    assert ACTIONS["token.issue"].result(here)["session"] == here.args.session
    assert world.do("token.issue", A, user=A, device="phone").args.session != here.args.session


def test_a_revoked_session_stays_revoked_whatever_arrives_later(world: World) -> None:
    session = world.do("token.issue", A, key="login", user=A, device="phone").args.session
    world.refused(NotFound, "session.revoke", B, session=session)
    world.do("session.revoke", A, session=session)
    world.do("token.issue", A, dc=1, key="login", user=A, device="phone")
    world.settle()
    assert all(dc.state.rows("sessions", {"session": session})[0]["revoked"] for dc in world.dcs)


# -- chats


def test_two_creations_of_one_thing_are_one_chat(world: World) -> None:
    here = world.do("group.create", A, key="same", kind="group", title="x")
    there = world.do("group.create", A, dc=1, key="same", kind="group", title="x")
    other = world.do("group.create", B, key="same", kind="group", title="x")
    assert here.args.chat == there.args.chat == f"G{ids.derived_id('group.create', A, 'same', '')}"
    assert other.args.chat != here.args.chat


def test_standing_decides_who_changes_a_chat(world: World) -> None:
    chat = world.group
    world.refused(Forbidden, "group.update", B, chat=chat, title="x")
    world.refused(Forbidden, "group.update", C, chat=chat, title="x")
    world.refused(NotFound, "group.update", A, chat="G1", title="x")
    world.do("member.role", A, chat=chat, user=B, role="admin")
    world.do("group.update", B, chat=chat, title="y")
    world.refused(Forbidden, "group.dissolve", B, chat=chat)
    world.do("group.dissolve", A, chat=chat)
    for action, request in (
        ("group.update", {"title": "x"}),
        ("group.dissolve", {}),
        ("member.add", {"users": [C]}),
        ("member.join", {}),
        ("member.kick", {"user": B}),
        ("member.role", {"user": B, "role": "member"}),
    ):
        world.refused(Gone, action, A, chat=chat, **request)


def test_a_dissolved_chat_is_readable_and_not_writable_whatever_is_renamed_later(world: World) -> None:
    said = world.do("message.send", B, to=world.group, text="hi")
    world.settle()
    world.do("group.dissolve", A, chat=world.group)
    world.do("group.update", A, dc=1, chat=world.group, title="later")
    world.settle()
    assert world.dcs[1].state.rows("chats", {"chat": world.group})[0]["dissolved"] == 1
    world.refused(Gone, "message.send", B, to=world.group, text="hi")
    world.refused(Gone, "message.edit", B, message=str(said.id), text="hi")
    world.refused(Gone, "reaction.set", A, message=str(said.id), emoji="+1")
    world.do("dialog.read", A, peer=world.group, message=str(said.id))
    world.do("message.recall", B, message=str(said.id), for_="all")


# -- members


def test_owner_and_admins_add_and_kick_and_the_owner_stays(world: World) -> None:
    chat = world.group
    world.refused(Forbidden, "member.add", B, chat=chat, users=[C])
    world.do("member.add", A, chat=chat, users=[B, C, C])
    assert world.present(chat) == {A, B, C}
    world.refused(Conflict, "member.add", A, chat=chat, users=[B])
    world.refused(NotFound, "member.add", A, chat=chat, users=["Unobody"])
    world.do("member.role", A, chat=chat, user=B, role="admin")
    world.refused(Forbidden, "member.kick", B, chat=chat, user=A)
    world.refused(Forbidden, "member.role", B, chat=chat, user=A, role="member")
    world.refused(Forbidden, "member.kick", C, chat=chat, user=B)
    world.refused(Invalid, "member.kick", B, chat=chat, user=B)
    world.do("member.kick", B, chat=chat, user=C)
    world.refused(NotFound, "member.kick", B, chat=chat, user=C)
    world.refused(NotFound, "member.role", A, chat=chat, user=D, role="admin")
    assert world.present(chat) == {A, B}


def test_a_kick_ends_a_role_also_for_one_who_comes_back(world: World) -> None:
    chat = world.group
    world.do("member.role", A, chat=chat, user=B, role="admin")
    world.do("member.kick", A, chat=chat, user=B)
    world.do("member.join", B, chat=chat)
    assert world.present(chat) == {A, B}
    world.refused(Forbidden, "group.update", B, chat=chat, title="x")


def test_whoever_knows_the_id_joins_also_after_a_kick_that_was_known(world: World) -> None:
    world.do("member.join", C, chat=world.supergroup)
    world.do("member.kick", A, chat=world.supergroup, user=C)
    world.do("member.join", C, chat=world.supergroup)
    assert C in world.present(world.supergroup)
    world.refused(Conflict, "member.join", C, chat=world.supergroup)
    world.refused(NotFound, "member.join", C, chat="C1")


def test_a_kick_beats_a_concurrent_join_and_a_join_a_concurrent_leave(world: World) -> None:
    world.do("member.leave", B, dc=0, chat=world.group)
    world.do("member.kick", A, dc=1, chat=world.group, user=B)
    world.do("member.join", B, dc=0, chat=world.group)
    world.settle()
    assert world.present(world.group) == world.present(world.group, dc=1) == {A}

    world.do("member.join", C, chat=world.group)
    world.settle()
    world.do("member.leave", C, dc=0, chat=world.group)
    world.do("member.leave", C, dc=1, chat=world.group)
    world.do("member.join", C, dc=1, chat=world.group)
    world.settle()
    assert world.present(world.group) == {A, C}


def test_an_add_names_the_add_of_its_lane_that_it_replaces(world: World) -> None:
    first = world.do("member.join", C, chat=world.group)
    world.do("member.leave", C, chat=world.group)
    again = world.do("member.join", C, chat=world.group)
    for event, basis in ((first, 0), (again, first.id)):
        add, line = ACTIONS["member.join"].effects(event)
        assert (add.basis, line.table) == ({"knew": basis}, MESSAGE_ROWS)


def test_a_leave_removes_only_what_it_had_seen_and_ends_reading_there(world: World) -> None:
    left = world.do("member.leave", B, chat=world.group)
    world.refused(NotFound, "member.leave", B, chat=world.group)
    registers = members_of(world.dcs[0].state, world.group)[B]
    assert not registers.present
    assert registers.seen == world.dcs[0].v == {ids.lane_of(left.id): left.id}
    assert registers.left == registers.known_adds()


def test_a_group_is_full_at_its_bound_and_a_supergroup_is_not(world: World) -> None:
    crowd = [f"Um{n}" for n in range(limits.GROUP_MEMBERS_MAX)]
    for user in crowd:
        world.do("user.upsert", "sys", user=user, name=user)
    world.refused(Full, "member.add", A, chat=world.group, users=crowd)
    world.do("member.add", A, chat=world.group, users=crowd[:-2])
    world.refused(Full, "member.join", C, chat=world.group)
    world.refused(Full, "group.create", A, kind="group", title="x", users=crowd)
    world.do("member.add", A, chat=world.supergroup, users=crowd)
    assert Full.code == "group_full"


def test_two_dcs_may_overshoot_the_bound_together_and_that_stays(world: World) -> None:
    crowd = [f"Um{n}" for n in range(limits.GROUP_MEMBERS_MAX)]
    for user in crowd:
        world.do("user.upsert", "sys", user=user, name=user)
    world.do("member.add", A, chat=world.group, users=crowd[:-3])
    world.settle()
    world.do("member.join", C, dc=0, chat=world.group)
    world.do("member.join", D, dc=1, chat=world.group)
    world.settle()
    assert len(world.present(world.group)) == limits.GROUP_MEMBERS_MAX + 1
    world.refused(Full, "member.join", crowd[-1], chat=world.group)


def member(*adds: int, role: str = "", left: int = 0) -> Membership:
    return Membership({n: Add(id, {}) for n, id in enumerate(adds)}, {0: left} if left else {}, role=role, role_at=1)


def test_without_an_owner_the_longest_standing_admin_owns_then_the_longest_standing_member() -> None:
    assert owner_of("Ua", {"Ua": member(9), "Ub": member(1, role="admin")}) == "Ua"
    absent = {"Ua": member(9, left=9)}
    assert owner_of("Ua", {**absent, "Ub": member(5, role="admin"), "Uc": member(3, role="admin")}) == "Uc"
    assert owner_of("Ua", {**absent, "Ub": member(5, role="admin"), "Uc": member(3)}) == "Ub"
    assert owner_of("Ua", {**absent, "Ub": member(5), "Uc": member(3), "Ud": member(3)}) == "Uc"
    assert owner_of("Ua", absent) == ""
    assert owner_of("Ua", {}) == ""


def test_who_inherits_a_chat_may_do_what_its_owner_did(world: World) -> None:
    world.do("member.leave", A, chat=world.group)
    world.do("group.update", B, chat=world.group, title="mine")
    world.do("group.dissolve", B, chat=world.group)


# -- messages


def test_a_message_goes_to_whom_it_names(world: World) -> None:
    direct = world.do("message.send", A, to=B, text="hi")
    assert direct.args.to == (A, B)
    assert direct.args.conversation == ids.direct_conversation(B, A)
    assert world.dcs[0].state.rows("directs", {})[0] == {"conversation": direct.args.conversation, "low": A, "high": B}
    again = world.do("message.send", B, to=direct.args.conversation, text="hi")
    assert again.args.conversation == direct.args.conversation
    assert world.do("message.send", A, to=A, text="note").args.to == (A,)
    group = world.do("message.send", B, to=world.group, text="hi")
    assert group.args.to == (A, B)
    assert group.args.knew
    channel = world.do("message.send", B, to=world.supergroup, text="hi")
    assert channel.args.to == ()
    assert ACTIONS["message.send"].audience(channel).channel == world.supergroup


def test_who_may_not_write_is_told_why(world: World) -> None:
    world.refused(NotFound, "message.send", A, to="Unobody", text="x")
    world.refused(NotFound, "message.send", A, to="G1", text="x")
    world.refused(NotFound, "message.send", A, to="D1", text="x")
    direct = world.do("message.send", A, to=B, text="x").args.conversation
    world.refused(NotFound, "message.send", C, to=direct, text="x")
    for chat in (world.group, world.supergroup):
        world.refused(Forbidden, "message.send", C, to=chat, text="x")
        world.do("member.kick", A, chat=chat, user=B)
        world.refused(Forbidden, "message.send", B, to=chat, text="x")


def test_a_message_accepted_elsewhere_survives_a_concurrent_kick(world: World) -> None:
    world.do("member.kick", A, dc=0, chat=world.group, user=B)
    said = world.do("message.send", B, dc=1, to=world.group, text="last words")
    world.settle()
    assert all(world.shown(said, dc).text == "last words" for dc in (0, 1))


def test_only_the_sender_edits_and_only_while_he_may_write(world: World) -> None:
    said = world.do("message.send", B, to=world.group, text="one")
    world.refused(Forbidden, "message.edit", A, message=str(said.id), text="x")
    world.refused(NotFound, "message.edit", C, message=str(said.id), text="x")
    world.refused(NotFound, "message.edit", B, message="5", text="x")
    edit = world.do("message.edit", B, message=str(said.id), text="two")
    assert (world.shown(said).text, world.shown(said).edited) == ("two", edit.id)
    world.do("member.kick", A, chat=world.group, user=B)
    world.refused(Forbidden, "message.edit", B, message=str(said.id), text="three")


def test_sender_owner_and_admins_recall_and_all_who_were_given_the_text_are_told(world: World) -> None:
    said = world.do("message.send", B, to=world.group, text="one")
    world.do("member.add", A, chat=world.group, users=[C])
    world.refused(Forbidden, "message.recall", C, message=str(said.id), for_="all")
    world.do("member.leave", B, chat=world.group)
    recall = world.do("message.recall", A, message=str(said.id), for_="all")
    assert set(recall.args.to) == {A, B, C}
    assert world.shown(said).text is None
    world.refused(Gone, "reaction.set", A, message=str(said.id), emoji="+1")
    direct = world.do("message.send", A, to=B, text="mine")
    world.refused(Forbidden, "message.recall", B, message=str(direct.id), for_="all")
    world.do("message.recall", A, message=str(direct.id), for_="all")
    world.refused(Gone, "message.edit", A, message=str(direct.id), text="again")
    world.refused(Gone, "message.send", B, to=A, text="re", reply_to=str(direct.id))


def test_a_hide_is_mine_alone(world: World) -> None:
    said = world.do("message.send", A, to=B, text="x")
    hidden = world.do("message.hide", B, message=str(said.id), for_="me")
    assert world.dcs[0].state.rows("hidden", {})[0]["user"] == B
    assert ACTIONS["message.hide"].audience(hidden).users == (B,)
    world.refused(NotFound, "message.hide", C, message=str(said.id), for_="me")


def test_a_reply_names_a_message_of_the_same_conversation_that_the_sender_may_read(world: World) -> None:
    said = world.do("message.send", A, to=B, text="x")
    reply = world.do("message.send", B, to=A, text="y", reply_to=str(said.id))
    assert world.shown(reply).reply_to == said.id
    world.refused(NotFound, "message.send", B, to=world.group, text="y", reply_to=str(said.id))
    world.refused(NotFound, "message.send", C, to=A, text="y", reply_to=str(said.id))


def test_the_latest_of_a_users_reactions_with_one_emoji_is_shown(world: World) -> None:
    said = world.do("message.send", A, to=B, text="x")
    for user in (A, B):
        world.do("reaction.set", user, message=str(said.id), emoji="+1")
    world.do("reaction.clear", A, message=str(said.id), emoji="+1")
    assert world.shown(said).reactions == {"+1": (B,)}
    world.refused(NotFound, "reaction.set", C, message=str(said.id), emoji="+1")


def test_what_is_bounded_about_a_message_takes_turns_however_its_id_is_spelled() -> None:
    for name, more in (
        ("reaction.set", {"emoji": "+1"}),
        ("reaction.clear", {"emoji": "+1"}),
        ("message.edit", {"text": "x"}),
        ("message.recall", {"for": "all"}),
    ):
        action = ACTIONS[name]
        turns = {action.turn(action.Request.model_validate({"message": id} | more)) for id in ("7", "0007")}
        assert len(turns) == 1 and turns != {""}


def test_messages_without_a_key_are_different_messages(world: World) -> None:
    rows = []
    for _ in range(2):
        id = world.dcs[0].clock.take(0)
        args = ACTIONS["message.send"].Args(conversation="D1", to=(A, B), text="x")  # type: ignore[call-arg]
        rows += list(ACTIONS["message.send"].effects(Event(id, "message.send", 1, A, "", b"", args)))
    classes = [effect.columns["class_"] for effect in rows if effect.table == "message_rows"]
    assert len(set(classes)) == 2


# -- what a former member still reads


def test_a_former_member_reads_what_was_his_and_what_came_before_his_end() -> None:
    message = Message(50 << 16, (50 << 16,), "G1", A, "", 0, "x", 0, False, {}, (A, B), 0, False)
    nobody, former, earlier = Membership(), member(10, left=10), member(10, left=10)
    former, earlier = former._replace(seen={0: 60 << 16}), earlier._replace(seen={0: 40 << 16, 1: 60 << 16})
    assert may_read(message, A, nobody, "group"), "his own"
    assert may_read(message, B, earlier, "group"), "addressed to him"
    assert may_read(message, C, former, "group"), "before his membership ended"
    assert not may_read(message, C, earlier, "group")
    assert not may_read(message, C, nobody, "group")
    assert may_read(message, C, member(90), "group"), "a member reads the whole history"
    assert not may_read(message, C, member(1), "direct")


def test_a_copy_that_the_end_had_seen_is_enough_to_read_a_message() -> None:
    message = Message(50 << 16, (50 << 16, 60 << 16 | 1), "G1", A, "", 0, "x", 0, False, {}, (A, B), 0, False)
    assert may_read(message, C, member(10, left=10)._replace(seen={1: 70 << 16}), "group")


@pytest.mark.parametrize("dc_ahead", [0, 1])
@pytest.mark.parametrize("action", ["member.kick", "member.leave"])
def test_whose_end_is_stamped_an_hour_ahead_reads_nothing_that_was_written_after_it(dc_ahead: int, action: str) -> None:
    """A datacenter whose clock is wrong must not give a former member an hour of other people's messages."""
    world = World(off_ms=(0, 3_600_000) if dc_ahead else (3_600_000, 0))
    before = world.do("message.send", A, to=world.supergroup, text="before")
    world.settle()
    actor, more = (A, {"user": B}) if action == "member.kick" else (B, {})
    world.do(action, actor, dc=dc_ahead, chat=world.supergroup, **more)
    world.settle()
    after = world.do("message.send", A, dc=1 - dc_ahead, to=world.supergroup, text="after")
    world.settle()
    for dc in (0, 1):
        membership = members_of(world.dcs[dc].state, world.supergroup)[B]
        assert not membership.present
        assert may_read(world.shown(before, dc), B, membership, "supergroup")
        assert not may_read(world.shown(after, dc), B, membership, "supergroup")


def test_a_former_member_reads_what_the_kick_knew_also_where_a_clock_ahead_had_stamped_it() -> None:
    world = World(off_ms=(0, 3_600_000))
    ahead = world.do("message.send", A, dc=1, to=world.supergroup, text="ahead")
    world.settle()
    world.do("member.kick", A, dc=0, chat=world.supergroup, user=B)
    membership = members_of(world.dcs[0].state, world.supergroup)[B]
    assert may_read(world.shown(ahead), B, membership, "supergroup")


# -- dialogs


def test_a_mark_needs_a_position_and_covers_only_what_was_delivered(world: World) -> None:
    first = world.do("message.send", A, to=B, text="1")
    late = world.do("message.send", A, dc=1, to=B, text="late")
    second = world.do("message.send", A, to=B, text="2")
    assert late.id < second.id
    request = {"peer": A, "message": str(second.id)}
    with pytest.raises(Invalid, match="position"):
        world.write(0, "dialog.read", B, request)
    read = world.write(0, "dialog.read", B, request, position=world.dcs[0].position(B))
    assert read.args.marks == {ids.lane_of(first.id): second.id}
    world.settle()
    cleared = world.write(0, "dialog.clear", B, request, position=world.dcs[0].position(B))
    assert cleared.args.marks == {ids.lane_of(first.id): second.id, ids.lane_of(late.id): late.id}


def test_a_mark_is_of_a_message_of_that_dialog(world: World) -> None:
    said = world.do("message.send", A, to=B, text="1")
    world.refused(NotFound, "dialog.read", B, peer=world.group, message=str(said.id))
    world.refused(NotFound, "dialog.read", C, peer=A, message=str(said.id))
    world.refused(NotFound, "dialog.read", B, peer=A, message="5")
    world.refused(NotFound, "dialog.clear", C, peer=world.group, message=str(said.id))


def test_pin_and_mute_are_values_of_one_dialog_with_their_bases(world: World) -> None:
    first = world.do("dialog.pin", A, peer=B, rank="i")
    second = world.do("dialog.pin", A, peer=B, rank=None)
    assert (first.args.basis, second.args.basis) == (0, first.id)
    world.do("dialog.pin", A, peer=world.group, rank="c")
    world.do("dialog.mute", A, peer=B, until_ms=5)
    rows = {row["conversation"]: row for row in world.dcs[0].state.rows("dialogs", {"user": A})}
    direct = rows[ids.direct_conversation(A, B)]
    assert (direct["pin"], direct["muted_until_ms"]) == ("", 5)
    assert rows[world.group]["pin"] == "c"
    world.do("dialog.mute", A, peer=B, until_ms=None)
    world.refused(NotFound, "dialog.pin", C, peer=world.group, rank="i")
    world.refused(NotFound, "dialog.mute", A, peer="Unobody", until_ms=5)

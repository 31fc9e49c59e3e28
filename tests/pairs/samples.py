"""One use of each action on the things of the scene, and how to see that it holds.

Two that are played together are `left` and `right`: where an action may say one thing or another, they say different
ones. A new action needs a sample here; without one every test of the pairs names it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from core.event import Event
from core.ids import lane_of
from core.invites import standing
from core.refreshing import NUMBER_BITS
from tests.pairs.scene import ADA, BEN, CY, DAN, EMOJI, Scene, Seen
from tests.support.mesh import ACTIONS, run

PROFILE, SESSIONS, DEVICE, HANDLES = "Ada's profile", "Ada's sessions", "Ada's device", "handles"
CHAT, MEMBERS, MESSAGE, DIALOG = "the group", "members of the group", "a message", "Cy's dialog of the group"
PEOPLE, NEW_CHAT, LANES = "Ada and Ben", "a new chat", "a parked event"
DOOR = "the door of a chat"
LATER = "a scheduled message"
FILE = "a file"


PLAYED = tuple(name for name, action in ACTIONS.items() if action.__module__.startswith("core.actions."))
"""All actions that there are; tests may have defined others."""


class Sample(NamedTuple):
    """How an action is done here."""

    about: tuple[str, ...]
    """The things that it concerns: pairs about one thing are in the table."""
    holds_when: str
    """In words, for the table."""
    request: Callable[[Scene, str], dict[str, Any]]
    """From the scene and the side, "left" or "right"."""
    holds: Callable[[Seen, Event], bool]
    """Is it so, in this state, what the event wanted?"""
    actor: Callable[[str], str] = lambda side: ADA
    before: Callable[[Scene, int], None] = lambda scene, dc: None
    """What is done first in the same datacenter, and not known in the other one either."""
    key: Callable[[str], str] = lambda side: ""


def sample_of(name: str) -> Sample:
    """The sample of an action; a failure that says what to do where there is none."""
    assert name in SAMPLES, (
        f"{name} has no sample: add one to SAMPLES in tests/pairs/samples.py (what it is about, a request, and when it "
        "holds), then run python -m tests.pairs"
    )
    return SAMPLES[name]


def _field(table: str, column: str, *key: str) -> Callable[[Seen, Event], bool]:
    """The row's column has what this event wrote."""

    def holds(seen: Seen, event: Event) -> bool:
        wrote = [
            effect
            for effect in ACTIONS[event.action].effects(event)
            if effect.table == table and column in effect.columns
        ]
        [effect] = wrote
        names = dict(zip(key, effect.key, strict=True))
        return bool(seen.row(table, **names).get(column) == effect.columns[column])

    return holds


def _group(scene: Scene, side: str) -> dict[str, Any]:
    return {"chat": scene.group}


def _message(scene: Scene, side: str) -> dict[str, Any]:
    return {"message": str(scene.message)}


def _dialog(scene: Scene, side: str) -> dict[str, Any]:
    return {"peer": scene.group}


def _dialog_and_message(scene: Scene, side: str) -> dict[str, Any]:
    return {**_dialog(scene, side), **_message(scene, side)}


def _left_and_back(scene: Scene, dc: int) -> None:
    """Cy goes here, so that he may come: in the other datacenter he has been a member all the time."""
    scene.do(dc, "member.leave", CY, {"chat": scene.group})


def _text(seen: Seen, event: Event) -> bool:
    message = seen.message(getattr(event.args, "message", event.id))
    return message is not None and message.text == event.args.text


def _reacted(seen: Seen, event: Event) -> bool:
    message = seen.message(event.args.message)
    return message is not None and event.actor in message.reactions.get(event.args.emoji, ())


def _marked(table: str) -> Callable[[Seen, Event], bool]:
    def holds(seen: Seen, event: Event) -> bool:
        place = {"user": CY, "conversation": seen.scene.group, "lane": lane_of(seen.scene.message)}
        return bool(seen.row(table, **place).get("mark", 0) >= seen.scene.message)

    return holds


def _cy_is_member(seen: Seen, event: Event) -> bool:
    return CY in seen.present(seen.scene.group)


def _made(seen: Seen, event: Event) -> bool:
    return seen.row("chats", chat=event.args.chat).get("creator") == ADA and ADA in seen.present(event.args.chat)


def _new_chat(kind: str) -> Callable[[Scene, str], dict[str, Any]]:
    return lambda scene, side: {"kind": kind, "title": side, "users": [BEN]}


def _role(seen: Seen, event: Event) -> bool:
    return bool(seen.member(seen.scene.group, CY).valid_role == event.args.role)


def _owns(seen: Seen, event: Event) -> bool:
    chat = run(seen.view.chat(seen.scene.group))
    assert chat is not None
    new = event.args.user
    return chat.owner == new and new in seen.present(seen.scene.group)


def _cy(scene: Scene, side: str) -> dict[str, Any]:
    return {"chat": scene.group, "user": CY}


def _dan(scene: Scene, side: str) -> dict[str, Any]:
    return {"chat": scene.door, "user": DAN}


def _door(scene: Scene, side: str) -> dict[str, Any]:
    return {"chat": scene.door}


def _banned_first(scene: Scene, dc: int) -> None:
    scene.do(dc, "chat.ban", ADA, _cy(scene, ""))


def _asks_no_more(scene: Scene, dc: int) -> None:
    """So that he may ask again."""
    scene.do(dc, "request.withdraw", DAN, {"chat": scene.door})


def _asks(seen: Seen, event: Event) -> bool:
    rows = run(seen.view.asked(seen.scene.door, DAN))
    return any(one.event == event.id for one in standing(rows, seen.member(seen.scene.door, DAN)))


def _answered(seen: Seen, event: Event) -> bool:
    return all(seen.row("join_requests", event=asked).get("ended") == 1 for asked in event.args.ended)


def _later(scene: Scene, side: str) -> dict[str, Any]:
    return {"user": ADA, "scheduled": scene.later}


def _later_has(column: str, value: Callable[[Event], Any]) -> Callable[[Seen, Event], bool]:
    return lambda seen, event: bool(seen.row("scheduled", scheduled=seen.scene.later)[column] == value(event))


_A_CHAT = "it is there, and Ada is in it"

SAMPLES: dict[str, Sample] = {
    "user.upsert": Sample(
        (PROFILE,), "the name is this one",
        lambda scene, side: {"user": ADA, "name": f"upsert {side}"},
        _field("users", "name", "user"), lambda side: "sys",
    ),
    "user.update": Sample(
        (PROFILE,), "the name is this one",
        lambda scene, side: {"name": f"update {side}"}, _field("users", "name", "user"),
    ),
    "conflict.undo": Sample(
        (PROFILE,), "the name is the one that had lost",
        lambda scene, side: {
            "event": str(scene.lost), "table": "users", "column": "name", "winner": str(scene.kept),
        },
        lambda seen, event: seen.row("users", user=ADA)["name"] == "lost", lambda side: "sys",
    ),
    "user.dnd": Sample(
        (PROFILE,), "this is when not to disturb",
        lambda scene, side: {"until_ms": len(side), "schedule": None}, _field("users", "dnd", "user"),
    ),
    "token.issue": Sample(
        (SESSIONS,), "the session lives",
        lambda scene, side: {"user": ADA, "device": side},
        lambda seen, event: seen.row("sessions", session=event.args.session).get("revoked") == 0, key=lambda side: side,
    ),
    "token.refresh": Sample(
        (SESSIONS,), "this refresh token counts as used",
        lambda scene, side: {"session": scene.session, "user": ADA, "used": (1 << NUMBER_BITS) + ord(side[0])},
        lambda seen, event: (seen.row("sessions", session=event.args.session).get("used") or 0) >= event.args.used,
    ),
    "session.revoke": Sample(
        (SESSIONS,), "the session is revoked",
        lambda scene, side: {"session": scene.session},
        lambda seen, event: seen.row("sessions", session=event.args.session).get("revoked") == 1,
    ),
    "device.register": Sample(
        (DEVICE,), "pushes go to this token",
        lambda scene, side: {"device": "phone", "provider": "fcm", "token": side},
        _field("devices", "push", "user", "device"),
    ),
    "device.forget": Sample(
        (DEVICE,), "nothing is pushed",
        lambda scene, side: {"device": "phone"}, _field("devices", "push", "user", "device"),
    ),
    "handle.claim": Sample(
        (HANDLES,), "the handle is the claimant's",
        lambda scene, side: {"handle": "lunch"}, lambda seen, event: seen.holder("lunch") == event.actor,
        lambda side: ADA if side == "left" else BEN,
    ),
    "handle.release": Sample(
        (HANDLES,), "the handle is nobody's",
        lambda scene, side: {}, lambda seen, event: seen.holder("ada") == "",
    ),
    "block.set": Sample(
        (PEOPLE,), "Ben is blocked",
        lambda scene, side: {"user": BEN}, _field("blocks", "blocked", "user", "target"),
    ),
    "block.clear": Sample(
        (PEOPLE,), "Ben is not blocked",
        lambda scene, side: {"user": BEN}, _field("blocks", "blocked", "user", "target"),
    ),
    "contact.request": Sample(
        (PEOPLE,), "they are contacts (each has asked the other)",
        lambda scene, side: {"user": BEN}, lambda seen, event: seen.contact(ADA, BEN) == "contact",
    ),
    "contact.accept": Sample(
        (PEOPLE,), "they are contacts",
        lambda scene, side: {"user": BEN}, lambda seen, event: seen.contact(ADA, BEN) == "contact",
    ),
    "contact.delete": Sample(
        (PEOPLE,), "they are no contacts",
        lambda scene, side: {"user": BEN}, lambda seen, event: seen.contact(ADA, BEN) != "contact",
    ),
    "group.create": Sample((NEW_CHAT,), _A_CHAT, _new_chat("group"), _made, key=lambda side: side),
    "supergroup.create": Sample((NEW_CHAT,), _A_CHAT, _new_chat("supergroup"), _made, key=lambda side: side),
    "group.update": Sample(
        (CHAT,), "the title is this one",
        lambda scene, side: {"chat": scene.group, "title": side}, _field("chats", "title", "chat"),
    ),
    "group.dissolve": Sample(
        (CHAT, MEMBERS, MESSAGE), "the group is dissolved",
        _group, lambda seen, event: seen.row("chats", chat=seen.scene.group)["dissolved"] == 1,
    ),
    "chat.owner": Sample(
        (CHAT, MEMBERS), "the group is owned by whom it was handed to (left: Cy, right: Ben)",
        lambda scene, side: {"chat": scene.group, "user": CY if side == "left" else BEN}, _owns,
    ),
    "member.add": Sample(
        (MEMBERS,), "Cy is a member (he had left there)",
        lambda scene, side: {"chat": scene.group, "users": [CY]}, _cy_is_member, before=_left_and_back,
    ),
    "member.join": Sample(
        (MEMBERS,), "Cy is a member (he had left there)",
        _group, _cy_is_member, lambda side: CY, before=_left_and_back,
    ),
    "member.leave": Sample(
        (MEMBERS,), "Cy is no member",
        _group, lambda seen, event: CY not in seen.present(seen.scene.group), lambda side: CY,
    ),
    "member.kick": Sample(
        (MEMBERS,), "Cy is no member",
        lambda scene, side: {"chat": scene.group, "user": CY},
        lambda seen, event: CY not in seen.present(seen.scene.group),
    ),
    "member.role": Sample(
        (MEMBERS,), "Cy has the role, whenever he is a member (left: admin, right: member)",
        lambda scene, side: {"chat": scene.group, "user": CY, "role": "admin" if side == "left" else "member"}, _role,
    ),
    "chat.ban": Sample(
        (DOOR, MEMBERS), "Cy is banned and no member",
        _cy,
        lambda seen, event: seen.row("chat_bans", user=CY)["banned"] == 1 and CY not in seen.present(seen.scene.group),
    ),
    "chat.unban": Sample(
        (DOOR, MEMBERS), "Cy is not banned (he had been there)",
        _cy, lambda seen, event: seen.row("chat_bans", user=CY)["banned"] == 0, before=_banned_first,
    ),
    "invite.create": Sample(
        (DOOR,), "there is the link",
        _group, lambda seen, event: seen.row("invites", invite=event.args.invite)["revoked"] == 0,
        key=lambda side: side,
    ),
    "invite.revoke": Sample(
        (DOOR,), "the link is revoked",
        lambda scene, side: {"chat": scene.group, "invite": scene.invite},
        lambda seen, event: seen.row("invites", invite=event.args.invite)["revoked"] == 1,
    ),
    "invite.accept": Sample(
        (DOOR, MEMBERS), "Cy is a member (he had left there)",
        lambda scene, side: {"link": scene.link}, _cy_is_member, lambda side: CY, before=_left_and_back,
    ),
    "request.ask": Sample(
        (DOOR,), "Dan's request stands (he had taken the first one back there)",
        _door, _asks, lambda side: DAN, before=_asks_no_more,
    ),
    "request.withdraw": Sample(
        (DOOR,), "the request that was seen is answered", _door, _answered, lambda side: DAN,
    ),
    "request.reject": Sample(
        (DOOR,), "the request that was seen is answered", _dan, _answered,
    ),
    "request.approve": Sample(
        (DOOR,), "Dan is a member",
        _dan, lambda seen, event: DAN in seen.present(seen.scene.door),
    ),
    "message.send": Sample(
        (MESSAGE, MEMBERS, DIALOG), "the message is there (sent by Cy, from the draft that was there)",
        lambda scene, side: {"to": scene.group, "text": side, "draft": str(scene.draft)},
        _text, lambda side: CY, key=lambda side: side,
    ),
    "file.put": Sample(
        (FILE,), "it is kept as Ada's",
        lambda scene, side: {"sha256": "ab" * 32, "bytes": 1, "name": side},
        lambda seen, event: 0 < seen.row("files", sha256="ab" * 32, user=ADA).get("made", 0) <= event.id,
    ),
    "message.schedule": Sample(
        (LATER,), "it waits",
        lambda scene, side: {"to": scene.group, "text": side, "at_ms": scene.now_ms + 1_000_000},
        lambda seen, event: seen.row("scheduled", scheduled=event.args.scheduled)["done"] == 0, key=lambda side: side,
    ),
    "message.unschedule": Sample(
        (LATER,), "it is not sent any more",
        lambda scene, side: {"scheduled": scene.later}, _later_has("gone", lambda event: 1),
    ),
    "schedule.take": Sample(
        (LATER,), "this datacenter is its home", _later, _later_has("home", lambda event: event.args.home),
        lambda side: "sys",
    ),
    "schedule.fail": Sample(
        (LATER,), "it was given up for this",
        lambda scene, side: {**_later(scene, side), "code": "forbidden", "detail": side},
        _later_has("failure", lambda event: {"code": "forbidden", "detail": event.args.detail}), lambda side: "sys",
    ),
    "message.edit": Sample(
        (MESSAGE,), "the message shows this text",
        lambda scene, side: {"message": str(scene.message), "text": side}, _text,
    ),
    "message.recall": Sample(
        (MESSAGE,), "the message has no text any more",
        lambda scene, side: {"message": str(scene.message), "for": "all"},
        lambda seen, event: (found := seen.message(seen.scene.message)) is not None and found.recalled,
    ),
    "message.hide": Sample(
        (MESSAGE,), "Ada does not see the message",
        lambda scene, side: {"message": str(scene.message), "for": "me"},
        lambda seen, event: seen.row("hidden", user=ADA, message=seen.scene.message).get("hidden") == 1,
    ),
    "reaction.set": Sample(
        (MESSAGE,), "Ada's reaction is shown",
        lambda scene, side: {"message": str(scene.message), "emoji": EMOJI}, _reacted,
    ),
    "reaction.clear": Sample(
        (MESSAGE,), "Ada's reaction is not shown",
        lambda scene, side: {"message": str(scene.message), "emoji": EMOJI},
        lambda seen, event: not _reacted(seen, event),
    ),
    "dialog.read": Sample(
        (DIALOG, MESSAGE), "the message is read", _dialog_and_message, _marked("read_marks"), lambda side: CY,
    ),
    "dialog.clear": Sample(
        (DIALOG, MESSAGE), "the message is cleared", _dialog_and_message, _marked("clear_marks"), lambda side: CY,
    ),
    "dialog.pin": Sample(
        (DIALOG,), "it is pinned (left), or not (right)",
        lambda scene, side: {"peer": scene.group, "rank": "i" if side == "left" else None},
        _field("dialogs", "pin", "user", "conversation"), lambda side: CY,
    ),
    "dialog.mute": Sample(
        (DIALOG,), "it is muted until this time",
        lambda scene, side: {"peer": scene.group, "until_ms": len(side)},
        _field("dialogs", "muted_until_ms", "user", "conversation"), lambda side: CY,
    ),
    "dialog.mark_unread": Sample(
        (DIALOG,), "it is marked as unread",
        lambda scene, side: {"peer": scene.group, "on": True},
        lambda seen, event: run(seen.view.dialog(CY, seen.scene.group)).unread, lambda side: CY,
    ),
    "draft.set": Sample(
        (DIALOG,), "the draft is this one",
        lambda scene, side: {"peer": scene.group, "text": side},
        lambda seen, event: run(seen.view.draft(CY, seen.scene.group)).text == event.args.text, lambda side: CY,
    ),
    "draft.clear": Sample(
        (DIALOG,), "there is no draft",
        _dialog, lambda seen, event: run(seen.view.draft(CY, seen.scene.group)).text == "", lambda side: CY,
    ),
    "parked.drop": Sample(
        (LANES,), "the datacenter's word is there",
        lambda scene, side: {"lane": 7, "seq": 2},
        lambda seen, event: any(row["agreed"] for row in seen.state.rows("drops", {"lane": 7, "seq": 2})),
        lambda side: "sys",
    ),
}  # fmt: skip

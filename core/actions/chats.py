"""Groups and supergroups as such. Both share the columns and the rules; a supergroup has updates of its own."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Any, Literal

import pydantic

from core import action, limits
from core.action import Audience, Origin, Route, Touch
from core.actions.conversations import (
    ChatArgs,
    audience_of,
    live_chat,
    made_before,
    new_id,
    reach_of,
    require_manager,
    require_room,
    require_room_of,
    require_takers,
    standing,
)
from core.actions.fields import About, Avatar, ChatId, Entry, Name, Users
from core.actions.lines import line, line_touch
from core.errors import Conflict, Forbidden, Full, Gone, NotFound, UserFull
from core.event import Event
from core.ids import lane_of, time_ms_of
from core.tables import Effect


class _CreateRequest(action.Request):
    title: Name
    about: About = ""
    avatar: Avatar = ""
    users: Users = []
    entry: Entry = "open"


class _CreateArgs(action.Args, frozen=True, kw_only=True):
    chat: str
    title: str
    about: str
    avatar: str
    users: tuple[str, ...]
    """Who is in it from the start, the creator among them."""
    entry: str = "open"


class _Create(action.Action):
    """What both creations do; they differ in kind and id."""

    Args = _CreateArgs
    answer = {"chat": ChatId}
    makes_once = True
    kind: str
    prefix: str

    @classmethod
    async def _resolve(cls, request: _CreateRequest, origin: Origin) -> _CreateArgs:
        users = tuple(sorted({origin.actor, *request.users}))
        await require_takers(origin.view, origin.actor, users)
        require_room(cls.prefix, 0, len(users))
        chat = new_id(cls.prefix, cls.name, origin)
        made = await origin.view.chat(chat)
        if made is not None:
            raise made_before(chat, time_ms_of(min(made.stamps.values())), origin)
        await require_room_of(origin.view, chat, origin.actor, users)
        return _CreateArgs(
            chat=chat,
            title=request.title,
            about=request.about,
            avatar=request.avatar,
            users=users,
            entry=request.entry,
        )

    @classmethod
    def _effects(cls, event: Event) -> Iterable[Effect]:
        args: _CreateArgs = event.args
        chat = {
            "kind": cls.kind,
            "creator": event.actor,
            "owner": event.actor,
            "title": args.title,
            "about": args.about,
            "avatar": args.avatar,
            "entry": args.entry,
        }
        yield Effect("chats", (args.chat,), chat, dict.fromkeys(("owner", "title", "about", "avatar", "entry"), 0))
        for user in args.users:
            yield Effect("member_adds", (args.chat, user, lane_of(event.id)), {"knew": {}}, {"knew": 0})
        others = [user for user in args.users if user != event.actor]
        yield line(event, args.users, {}, users=others, new={"title": args.title})

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.users, {})

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        """The members as well, as far as a group's worth: whoever is told of a membership event loads the dialog anew.
        The same creation may come a second time, from another datacenter, when some have left already: it adds them
        again, and they have to hear of it."""
        args: _CreateArgs = event.args
        users = args.users if len(args.users) <= limits.GROUP_MEMBERS_MAX else (event.actor,)
        members = (Touch("member", (args.chat, user)) for user in users)
        return (Touch("chat", (args.chat,)), *members, line_touch(event))

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"chat": event.args.chat}


class CreateGroup(_Create):
    name = "group.create"
    kind, prefix = "group", "G"
    summary = "Create a group (up to 20 members)"
    consistency = (
        "The row only appears (insert) and the creator is its owner. The id follows from the creator, the key and the "
        "request, so two creations of one thing in two datacenters are one group. It is made once: when its answer is "
        "forgotten (24 h), the same call is refused."
    )
    route = Route("POST", "/v1/chats", when=(("kind", "group"),))
    example = {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}
    errors = (Forbidden, NotFound, Conflict, Full)

    class Request(_CreateRequest):
        kind: Literal["group"]

    @staticmethod
    async def resolve(request: "CreateGroup.Request", origin: Origin) -> _CreateArgs:
        return await CreateGroup._resolve(request, origin)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return CreateGroup._effects(event)


class CreateSupergroup(_Create):
    name = "supergroup.create"
    kind, prefix = "supergroup", "C"
    summary = "Create a supergroup (any number of members)"
    consistency = CreateGroup.consistency.replace("one group", "one supergroup")
    route = Route("POST", "/v1/chats", when=(("kind", "supergroup"),))
    example = {"kind": "supergroup", "title": "Announcements"}
    errors = (Forbidden, NotFound, Conflict, UserFull)

    class Request(_CreateRequest):
        kind: Literal["supergroup"]

    @staticmethod
    async def resolve(request: "CreateSupergroup.Request", origin: Origin) -> _CreateArgs:
        return await CreateSupergroup._resolve(request, origin)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return CreateSupergroup._effects(event)


class Update(action.Action):
    name = "group.update"
    summary = "Change title, description, picture or entry of a chat"
    consistency = (
        "One stamp per field; of two concurrent writes of a field the later wins (lww) and the other is listed as a "
        "conflict. A dissolved chat stays dissolved, whatever is renamed."
    )
    route = Route("PATCH", "/v1/chats/{chat}")
    example = {"title": "Lunch at noon"}
    errors = (Forbidden, NotFound, Gone)

    class Request(action.Request):
        chat: ChatId
        title: Name | None = None
        about: About | None = None
        avatar: Avatar | None = None
        entry: Entry | None = None

        @pydantic.model_validator(mode="after")
        def _something(self) -> "Update.Request":
            if (self.title, self.about, self.avatar, self.entry) == (None, None, None, None):
                raise ValueError("give at least one of title, about, avatar, entry")
            return self

    class Args(ChatArgs, frozen=True, kw_only=True):
        fields: dict[str, str]
        basis: dict[str, int]
        old: dict[str, str] = {}
        """What the origin replaced, of the fields that a line tells of and that it changed."""

    @staticmethod
    async def resolve(request: "Update.Request", origin: Origin) -> "Update.Args":
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        reach = await reach_of(origin.view, chat.chat)
        fields = request.model_dump(exclude={"chat"}, exclude_none=True)
        basis = {name: chat.stamps.get(name, 0) for name in fields}
        shown = {"title": chat.title, "avatar": chat.avatar, "entry": chat.entry or "open"}
        old = {name: was for name, was in shown.items() if fields.get(name, was) != was}
        return Update.Args(chat=chat.chat, to=reach.to, knew=reach.knew, fields=fields, basis=basis, old=old)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Update.Args = event.args
        yield Effect("chats", (args.chat,), args.fields, args.basis)
        if args.old:
            new = {name: args.fields[name] for name in args.old}
            yield line(event, args.to, args.knew, old=args.old, new=new)

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        chat = Touch("chat", (event.args.chat,))
        return (chat, line_touch(event)) if event.args.old else (chat,)


class Dissolve(action.Action):
    name = "group.dissolve"
    summary = "Dissolve a chat; it stays readable"
    consistency = (
        "Dissolved is set once and never unset; it beats any concurrent rename. Members stay, and a message that was "
        "accepted elsewhere meanwhile stays too."
    )
    route = Route("DELETE", "/v1/chats/{chat}")
    errors = (Forbidden, NotFound, Gone)

    class Request(action.Request):
        chat: ChatId

    Args = ChatArgs

    @staticmethod
    async def resolve(request: "Dissolve.Request", origin: Origin) -> ChatArgs:
        chat = await live_chat(origin.view, request.chat)
        if await standing(origin.view, chat, origin.actor) != "owner":
            raise Forbidden("only the owner may dissolve a chat")
        reach = await reach_of(origin.view, chat.chat)
        return ChatArgs(chat=chat.chat, to=reach.to, knew=reach.knew)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        yield Effect("chats", (event.args.chat,), {"dissolved": 1})
        yield line(event, event.args.to, event.args.knew)

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("chat", (event.args.chat,)), line_touch(event))

"""What a write primitive is: one class, found by the API, OpenAPI, the manual, the simulator and the tests.

An action is used twice. At its origin `resolve` turns a validated request into `Args`: it authorises, looks up
ids, recipients, bases and what the origin knew, all as *applied* there. Everywhere, `effects`, `audience` and
`touches` say what an event changes, whom it concerns and what those users should look at again. Those three are
pure: they read nothing but the event, so every DC does the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec
import pydantic

from core.contacts import Contact
from core.event import Event
from core.handles import Row as HandleRow
from core.invites import Asked, Invite, Link
from core.membership import Membership, Roll
from core.messages import Message
from core.rivalry import Write
from core.scheduled import Scheduled
from core.tables import Effect


class Route(NamedTuple):
    """The REST call of an action. `{name}` parts of the path become fields of the request."""

    method: str
    path: str
    listener: str = "public"
    """"public" (apisvc), "sys" (syssvc), or "bytes": a call of apisvc whose body is no JSON (api/file_routes.py)."""
    query: tuple[str, ...] = ()
    """Request fields that come from the query string."""
    when: tuple[tuple[str, str], ...] = ()
    """Query or body values that select this action where two share method and path: (("for", "all"),) is a query
    value because `query` names it, (("kind", "group"),) is one of the body."""


class Request(pydantic.BaseModel):
    """What a client sends: path, query and body together. Unknown fields are refused by name."""

    # Validators are made at the first request: making all of them cost each start of a process a third of a second.
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Args(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the log: resolved ids, recipients, absolute times, bases, `knew`. Plain JSON-able fields only.

    Fields may be added with a default; anything else is a new version with an upcaster.
    """


class Touch(msgspec.Struct, frozen=True, gc=False):
    """What an update tells a client to look at again; it is rendered in its *present* state when sent.

    `user`: it is for him alone, whoever else the event concerns, and whether or not it names him. Or a supergroup: it
    is in that one's updates alone.

    type       ref
    "message"  conversation id, message id
    "hidden"   conversation id, message id
    "chat"     chat id
    "member"   chat id, user id
    "dialog"   conversation id
    "user"     user id
    "session"  session id
    "block"    user id of who blocks, user id of whom
    "dnd"      user id
    "device"   user id, the client's name for its device
    "scheduled" user id, id of a message that is to be sent later
    "invite"   chat id, invite id
    "ban"      chat id, user id of who is kept out, or not any more
    "request"  chat id, user id of who asks to be let in
    "handle"   handle; also for all who have claimed it (stores/feeding.py)
    "contact"  user id of who wrote, user id of the other
    """

    type: str
    ref: tuple[str | int, ...]
    user: str = ""


class Audience(msgspec.Struct, frozen=True, gc=False):
    """Whom an event concerns. Users get it in their own updates, a supergroup in the supergroup's.

    `conversation` with `knew`: besides `users`, the local members of that group whose add the origin had not
    applied (core/audience.py). `channel`: a supergroup's own updates.
    """

    users: tuple[str, ...] = ()
    conversation: str | None = None
    knew: dict[int, int] = {}
    channel: str | None = None


class Position(NamedTuple):
    """Where a client stands by its own statement: its cursor, opened. `v` is lane number -> id."""

    dc: str
    epoch: int
    pts: int
    v: dict[int, int]
    channels: dict[str, int]


class UserView(NamedTuple):
    user: str
    name: str
    avatar: str
    about: str
    password: str
    dnd: dict[str, Any] | None
    stamps: dict[str, int]
    """Per lww column the stamp of the present value (0: never written): the basis of an overwrite."""


class ChatView(NamedTuple):
    chat: str
    kind: str
    creator: str
    title: str
    about: str
    avatar: str
    owner: str
    entry: str
    """Who may come in by himself: "open", "approval" or "closed"."""
    dissolved: bool
    stamps: dict[str, int]


class DialogView(NamedTuple):
    user: str
    conversation: str
    pin: str
    muted_until_ms: int
    unread: bool
    """Marked as unread, and not read since."""
    stamps: dict[str, int]


class DraftView(NamedTuple):
    text: str
    """ "" where there is none: none was set, it was taken away, or sent."""
    reply_to: int
    revision: int
    """The stamp of what was set or taken away last; 0: nothing was."""


class DeviceView(NamedTuple):
    device: str
    provider: str
    """ "" where it is not registered, or was forgotten."""
    token: str
    home: str
    stamps: dict[str, int]


class FileView(NamedTuple):
    """That a user has put a file."""

    sha256: str
    user: str
    bytes: int
    type: str
    name: str
    made: int
    """The first event that did it."""


class SessionView(NamedTuple):
    session: str
    user: str
    device: str
    expires_ms: int
    revoked: bool
    used: int = 0
    """The last refresh token that was used (core/refreshing.py)."""


class Parking(NamedTuple):
    """What this DC knows of one place of a lane that is parked somewhere (core/drops.py)."""

    parked: bool
    passed: bool
    """Is the lane applied through there? An event that is not parked then was applied, or dropped."""
    said: bool
    """Has this DC said something of it before?"""
    dropped: bool
    dcs: frozenset[int]
    """The DC map: all numbers, this one too."""


class View(Protocol):
    """What `resolve` may read: this DC's applied state. Every method is safe to repeat."""

    async def user(self, user: str) -> UserView | None: ...
    async def session(self, session: str) -> SessionView | None: ...
    async def sessions_of(self, user: str, now_ms: int, limit: int) -> list[SessionView]:
        """The newest of the user's sessions that are neither over nor revoked, the newest first."""
        ...

    async def chat(self, chat: str) -> ChatView | None: ...
    async def membership(self, chat: str, user: str) -> Membership:
        """The registers of (chat, user); empty registers where there is nothing."""
        ...

    async def roll(self, chat: str) -> Roll:
        """Who is in the chat, with their registers; and what is known of all who ever were."""
        ...

    async def heir(self, chat: str) -> str:
        """Who owns the chat in the place of an owner who is no member (core/ownership.py); "" where nobody is in it. Of
        a supergroup it does not take reading all who are."""
        ...

    async def managers(self, chat: str) -> list[str]:
        """The owner in force and the admins; of very many admins some (MANAGERS_TOLD_MAX)."""
        ...

    async def invite(self, chat: str, invite: str) -> Invite | None: ...
    async def invite_uses(self, invite: str) -> Mapping[int, int]:
        """lane -> uses, whether or not the link itself is here."""
        ...

    async def invites_of(self, chat: str, now_ms: int) -> list[Invite]:
        """Those that are neither over nor revoked, the first to end first; a page's worth."""
        ...

    async def ban(self, chat: str, user: str) -> tuple[bool, int]:
        """Whether the user is kept out of the chat, and the stamp of that; 0: nobody ever said so."""
        ...

    async def bans_of(self, chat: str, after: str, limit: int) -> list[str]:
        """Who is, by user id, after this one."""
        ...

    async def asked(self, chat: str, user: str) -> Sequence[Asked]:
        """The user's requests to be let in, ended ones too; of very many the last ones."""
        ...

    async def asking(self, chat: str, after: int, limit: int) -> list[Asked]:
        """Requests of anybody that are not ended, those after the event `after`, the oldest first."""
        ...

    async def memberships_of(self, user: str) -> dict[str, Membership]:
        """chat -> registers, of all chats the user is or was in."""
        ...

    async def dialog(self, user: str, conversation: str) -> DialogView: ...
    async def draft(self, user: str, conversation: str) -> DraftView: ...
    async def blocks_of(self, user: str) -> Mapping[str, int]:
        """Whom the user has blocked -> the stamp of that."""
        ...

    async def block_stamp(self, user: str, target: str) -> int:
        """Of what the user wrote last of this one, blocked or not; 0: nothing."""
        ...

    async def contacts_of(self, user: str) -> Mapping[str, Contact]:
        """peer -> what there is between them; those with whom there is nothing are left out."""
        ...

    async def device(self, user: str, device: str) -> DeviceView: ...
    async def devices_of(self, user: str) -> list[DeviceView]:
        """Those that are registered, the newest first; of very many writes those of the last ones."""
        ...

    async def push_owner(self, token: str) -> tuple[tuple[str, str], int]:
        """(user, device) that the push token of this hash belongs to, and the stamp of that; 0: to nobody."""
        ...

    async def file(self, sha256: str, user: str) -> FileView | None:
        """That this user has put it; None where he has not."""
        ...

    async def scheduled(self, user: str, scheduled: str) -> Scheduled | None: ...
    async def scheduled_of(self, user: str) -> list[Scheduled]:
        """Those that wait, and those that were not sent, the first that is due first; a page's worth."""
        ...

    async def handle(self, handle: str) -> Sequence[HandleRow]:
        """All claims and releases of it."""
        ...

    async def handles_of(self, user: str) -> list[str]:
        """Those that are his, the one that he claimed last first: more than one only where he claimed in two DCs at
        once."""
        ...

    async def direct(self, conversation: str) -> tuple[str, str] | None:
        """The two users of a direct conversation (low, high)."""
        ...

    async def message(self, message: int, known: Mapping[int, int] | None = None) -> Message | None:
        """The fold of the message that has this id (canonical or alias); with `known` (lane -> id) without edits and
        reactions beyond known[their lane]."""
        ...

    async def parking(self, lane: int, seq: int) -> Parking:
        """If it is parked, this DC does not apply it from now on, unless it turns out that it may."""
        ...

    def forgo(self, lane: int, seq: int) -> None:
        """Takes one `parking` back: nothing came of it, and nothing will."""
        ...

    async def event(self, id: int) -> Event | None:
        """The event with this id, if it is applied here and can still be read."""
        ...

    async def writes_of(self, table: str, key: Sequence[str | int], column: str) -> list[Write]:
        """Those of an lww column that are kept, ascending; of very many the newest (COLUMN_WRITES_MAX)."""
        ...

    async def seen(self, user: str, conversation: str, message: int, position: Position) -> dict[int, int]:
        """Per lane the greatest id <= `message` of this conversation that was delivered to the client by
        `position`: what a read or clear mark may cover."""
        ...


def _no_link(text: str) -> Link | None:
    return None


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What `resolve` gets besides the request: who calls, where, when; and the view."""

    actor: str
    key: str
    dc: str
    now_ms: int
    view: View
    entropy: Any  # core.system.Entropy
    position: Position | None = None
    session: str = ""
    v: Callable[[], Mapping[int, int]] = dict
    """lane -> the last id that this DC has applied without a gap."""
    fingerprint: bytes = b""
    """Of the request: together with actor and key it names the intention."""
    link: Callable[[str], Link | None] = _no_link
    """What a link into a chat allows; None for one that no datacenter has signed."""


class Action:
    """Base of all write primitives. Subclasses are registered by being defined under `core/actions/`."""

    name: ClassVar[str]
    """The name in the log, e.g. "message.send"."""
    version: ClassVar[int] = 1
    summary: ClassVar[str]
    """One line for OpenAPI."""
    consistency: ClassVar[str]
    """How it stays consistent (`x-consistency`): the row of semantics.md, in sentences."""
    route: ClassVar[Route]
    Request: ClassVar[type[Request]]
    Args: ClassVar[type[Args]]
    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """The errors of `core.errors` that `resolve` may raise, for OpenAPI."""
    example: ClassVar[dict[str, Any]] = {}
    """An example request body."""
    answer: ClassVar[Mapping[str, Any]] = {}
    """Members of the answer besides `id`: name -> type (core/actions/fields.py). As `result` gives them."""
    upcasters: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    """Version in the log -> plain args of that version to plain args of the next. Every version that was ever
    released has one, for ever."""
    durability: ClassVar[str] = "local"
    """The default of `Prefer: durability=`; "remote" for kicks and revocations."""
    makes_once: ClassVar[bool] = False
    """It makes a thing whose id follows from caller, key and request, and refuses to make it again."""
    needs_position: ClassVar[bool] = False
    """`resolve` asks for `Origin.position`: the client's cursor comes in the body's field `cursor`."""

    @staticmethod
    def turn(request: Any) -> str:
        """What this write has to itself from `resolve` until it is applied, in its datacenter: the name of a thing
        whose limit `resolve` looks at. "" for most."""
        return ""

    @staticmethod
    async def resolve(request: Any, origin: Origin) -> Any:
        """Request -> Args, or an error of core.errors. Runs only at the origin, before the event exists."""
        raise NotImplementedError

    @staticmethod
    def forgo(request: Any, view: View) -> None:
        """Nothing came of the write, and nothing will: takes back what `resolve` did to the origin meanwhile."""

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        """The mergeable changes. Pure."""
        raise NotImplementedError

    @staticmethod
    def audience(event: Event) -> Audience:
        """Whom it concerns. Pure."""
        return Audience()

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        """What those users should look at again. Pure. At most a few."""
        return ()

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        """The members of the answer besides `id`, those of `answer`. Pure, so that a retry anywhere gets the same."""
        return {}


class OwnAction(Action):
    """Base of those that concern nobody but who does them: his other devices hear of it."""

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.actor,))


def registry() -> dict[str, type[Action]]:
    """All actions by name. Importing `core.actions` defines them."""
    import core.actions  # noqa: F401  (registers its classes)

    found: dict[str, type[Action]] = {}
    queue = list(Action.__subclasses__())
    while queue:
        action = queue.pop()
        queue.extend(action.__subclasses__())
        if "name" in action.__dict__:
            found[action.name] = action
    return dict(sorted(found.items()))

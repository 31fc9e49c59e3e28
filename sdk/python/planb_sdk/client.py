"""The client: every call of the API as a typed method. How to use it is in the README beside this package."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import aiohttp

from planb_sdk import loading, system
from planb_sdk.account import part
from planb_sdk.entry import Entry
from planb_sdk.errors import ApiError
from planb_sdk.follower import Follower
from planb_sdk.model import Chat, Dialog, Draft, Member, Message, Position, Profile, Receipt, Session, Thread, Update
from planb_sdk.options import Options
from planb_sdk.outbox import Outbox, Write
from planb_sdk.state import State
from planb_sdk.stats import Stats
from planb_sdk.tokens import Pair
from planb_sdk.transport import Transport, addresses
from planb_sdk.writer import Writer

Json = dict[str, Any]
SAVED_VERSION = 1


class Client(Entry):
    """One session of one user. Made inside a running event loop; to be closed, or used with `async with`.

    `regions` are base URLs, the nearest first. Every write may be given a `key` (one is made otherwise): the same key
    is the same intention, however often it is sent. Writes raise ApiError for a refusal, and Unreachable when no
    region answered in time; then the write stays in the outbox and is sent later.
    """

    def __init__(
        self,
        regions: Sequence[str],
        token: str,
        *,
        user: str = "",
        keep_state: bool = False,
        options: Options | None = None,
        session: aiohttp.ClientSession | None = None,
        saved: Json | None = None,
        entropy: system.Entropy = system.entropy,
        refresh_token: str = "",
        on_tokens: Callable[[Pair], None] | None = None,
    ) -> None:
        """`refresh_token`: brings another token when this one expires; each is good for one use, by one client.
        `on_tokens` is told each new pair before it is used: keep it, it is what the session goes on with.
        `keep_state`: hold chats, dialogs and messages in `state`; it needs `user`, or `login`. `saved`: what an
        earlier client of this user answered to `saved()`, in whatever process. ValueError if it is none of his, and for
        a region that is no http or https address."""
        regions = addresses(regions)
        self.options = options or Options()
        self.stats = Stats()
        self.user = user
        self.state: State | None = State(user, self.options.history_max) if keep_state else None
        self._entropy = entropy
        if saved is not None:
            _check(saved, user)
        self._own_session = session is None
        self._session = session or _session(self.options)
        rng = system.generator(entropy)
        self._transport = Transport(
            regions, token, self._session, self.options, self.stats, rng, refresh_token, on_tokens
        )
        self._writer = Writer(self._transport, Outbox(self.options, self.stats))
        self._follower = Follower(self._transport, self.state, self._reload, self._writer.doubt)
        if saved is not None:
            self._transport.see(saved["clock"])
            self._follower.restore(saved["follower"])
            self._writer.outbox.restore(saved["outbox"])
            self._writer.resume()

    @classmethod
    async def login(
        cls,
        regions: Sequence[str],
        user: str,
        password: str,
        device: str,
        *,
        keep_state: bool = False,
        options: Options | None = None,
        session: aiohttp.ClientSession | None = None,
        saved: Json | None = None,
        entropy: system.Entropy = system.entropy,
        on_tokens: Callable[[Pair], None] | None = None,
    ) -> "Client":
        """A client with a new session. Unauthenticated if user or password is wrong."""
        client = cls(
            regions,
            "",
            user=user,
            keep_state=keep_state,
            options=options,
            session=session,
            saved=saved,
            entropy=entropy,
            on_tokens=on_tokens,
        )
        body = {"user": user, "password": password, "device": device}
        try:
            answer = await client._transport.call("POST", "/v1/login", body=body, key=system.new_key(entropy))
            client._transport.tokens.take(answer.body)
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends everything. What still waits in the outbox is gone, unless you keep what `saved()` answers."""
        self._transport.closed = True
        await self._transport.tokens.close()
        await self._follower.close()
        await self._writer.close()
        if self._own_session:
            await self._session.close()

    # -- regions

    @property
    def token(self) -> str:
        return self._transport.tokens.token

    @property
    def refresh_token(self) -> str:
        return self._transport.tokens.refresh_token

    @property
    def region(self) -> str:
        """The one that is used now."""
        return self._transport.region

    def switch(self, region: str) -> None:
        """Goes to another region, also one that was not named before; ValueError if it is no address. Updates go on
        without a gap; writes that it does not cover are sent again."""
        self._transport.switch(region)

    async def settled(self) -> None:
        """Returns when every write is acknowledged, and known to be where we are."""
        await self._writer.settled()

    @property
    def clock(self) -> str:
        """How far this client has seen, as X-Clock; "" at first. For another client's `see`."""
        return self._transport.clock

    def see(self, clock: str) -> None:
        """What is written from now on is stamped after all that the client saw from which this clock is, in whatever
        region: an answer stands behind its question. One that is older than ours changes nothing."""
        self._transport.see(clock)

    @property
    def unsent(self) -> int:
        """Writes that wait in the outbox without an answer."""
        return len(self._writer.outbox.waiting())

    # -- receiving

    async def begin(self) -> None:
        """From here on nothing is missed: `updates` will hand on what comes after this, whenever it is asked."""
        self._follower.wanted = True
        await self._follower.begin()

    def updates(self) -> AsyncGenerator[Update, None]:
        """Everything that concerns me, from `begin` or the first iteration on, without gaps and without doubles, over
        failures and changes of region. One at a time; close it (`contextlib.aclosing`) before another. Raises
        Unauthenticated at the end of the session."""
        return self._follower.updates()

    @property
    def position(self) -> Position | None:
        """How far the updates have been followed."""
        return self._follower.position

    async def fresh_state(self) -> State:
        """State loaded anew, beside `state`: what `state` should be equal to."""
        fresh = State(self.user, self.options.history_max)
        await loading.load_all(self._transport, fresh)
        return fresh

    async def _reload(self, everything: bool) -> None:
        assert self.state is not None
        if everything:
            await loading.load_all(self._transport, self.state)
        else:
            await loading.load_some(self._transport, self.state, self.state.stale)

    def saved(self) -> Json:
        """What another process needs to go on here: plain JSON, to be given to the next Client as `saved`.

        It holds the texts of what is in the outbox, and no token. Updates that were taken from `updates` are behind
        it, those that were not come again; `state` is loaded anew. Cheap enough to be asked after every update."""
        return {
            "version": SAVED_VERSION,
            "user": self.user,
            "clock": self._transport.clock,
            "follower": self._follower.saved(),
            "outbox": self._writer.outbox.saved(),
        }

    # -- messages

    async def send(
        self,
        to: str,
        text: str = "",
        *,
        content: Json | None = None,
        mentions: Iterable[str] = (),
        reply_to: str | None = None,
        draft: str | None = None,
        key: str = "",
        durability: str = "",
    ) -> Receipt:
        """To a user, a direct, a group or a supergroup. `durability="remote"` waits for another datacenter. `draft`:
        the revision of the kept draft that it is sent from, which is cleared with it. `content`: what it holds besides
        its text, or instead of one, as the API documents it. `mentions`: users, or "all" for a group's members."""
        named = list(mentions) or None
        body = {"to": to} | _given(text=text or None, content=content, mentions=named, reply_to=reply_to, draft=draft)
        return await self._write("POST", "/v1/messages", body, key=key, durability=durability)

    async def forward(self, message: str, to: str, *, key: str = "", durability: str = "") -> Receipt:
        """Repeats a message that I may read, with its first sender's name."""
        body = {"to": to, "forward_of": message}
        return await self._write("POST", "/v1/messages", body, key=key, durability=durability)

    async def send_many(self, drafts: Iterable[Draft]) -> list[Receipt | ApiError]:
        """Many messages in few requests, in order; each has its own outcome."""
        writes = []
        for draft in drafts:
            given = _given(text=draft.text or None, content=draft.content, reply_to=draft.reply_to or None)
            body = {"to": draft.to} | given | ({"mentions": list(draft.mentions)} if draft.mentions else {})
            writes.append(Write(draft.key or self._key(), "POST", "/v1/messages", body))
        return await self._writer.write_many(writes)

    async def edit(
        self, message: str, text: str | None = None, *, content: Json | None = None, key: str = ""
    ) -> Receipt:
        """What is None stays as it is."""
        body = _given(text=text, content=content)
        return await self._write("PATCH", "/v1/messages/{message}", body, message=message, key=key)

    async def recall(self, message: str, *, key: str = "") -> Receipt:
        """For everybody."""
        return await self._about(message, "DELETE", "", {"for": "all"}, key)

    async def hide(self, message: str, *, key: str = "") -> Receipt:
        """For me."""
        return await self._about(message, "DELETE", "", {"for": "me"}, key)

    async def react(self, message: str, emoji: str, *, key: str = "") -> Receipt:
        return await self._about(message, "PUT", f"/reactions/{part(emoji)}", {}, key)

    async def unreact(self, message: str, emoji: str, *, key: str = "") -> Receipt:
        return await self._about(message, "DELETE", f"/reactions/{part(emoji)}", {}, key)

    async def history(self, peer: str, *, before: str | None = None) -> AsyncGenerator[Message, None]:
        """Messages of a dialog, the newest first."""
        await self._follower.before_loading()
        async for message, replies in loading.history(self._transport, peer, before):
            yield Message.of(message, replies)

    async def history_after(self, peer: str, after: str) -> AsyncGenerator[Message, None]:
        """Messages of a dialog above an id, the oldest first."""
        await self._follower.before_loading()
        async for message, replies in loading.history_after(self._transport, peer, after):
            yield Message.of(message, replies)

    async def thread(self, message: str) -> Thread:
        """The thread that a message is in, or begins."""
        await self._follower.before_loading()
        return Thread.of((await loading.thread(self._transport, message, {})).body)

    async def replies(self, message: str, *, after: str | None = None) -> AsyncGenerator[Message, None]:
        """The replies in the thread of a message, the oldest first."""
        await self._follower.before_loading()
        async for reply in loading.replies(self._transport, message, after):
            yield Message.of(reply)

    async def replies_before(self, message: str, *, before: str = loading.NEWEST) -> AsyncGenerator[Message, None]:
        """The replies in the thread of a message, the newest first."""
        await self._follower.before_loading()
        async for reply in loading.replies_before(self._transport, message, before):
            yield Message.of(reply)

    async def mentions(self, peer: str) -> AsyncGenerator[Message, None]:
        """Messages of a dialog that name me and that I have not read, the oldest first."""
        await self._follower.before_loading()
        async for message in loading.mentions(self._transport, peer):
            yield Message.of(message)

    # -- dialogs

    async def dialogs(self) -> AsyncGenerator[Dialog, None]:
        """Pinned ones first, then by the newest message. One that moves up while they are read may be passed over."""
        await self._follower.before_loading()
        async for entry in loading.dialogs(self._transport):
            yield Dialog.of(entry)

    async def read(self, peer: str, message: str, *, key: str = "") -> Receipt:
        """Marks as read what was delivered to this client, up to a message."""
        return await self._mark(peer, "read", message, key)

    async def clear(self, peer: str, message: str, *, key: str = "") -> Receipt:
        """Clears, for me, what was delivered to this client, up to a message."""
        return await self._mark(peer, "clear", message, key)

    async def pin(self, peer: str, rank: str | None, *, key: str = "") -> Receipt:
        """`rank`: digits of a fraction in base 36, such as "i"; None: not pinned."""
        return await self._write("PUT", f"/v1/dialogs/{part(peer)}/pin", {"rank": rank}, key=key)

    async def mute(self, peer: str, until_ms: int | None, *, key: str = "") -> Receipt:
        return await self._write("PUT", f"/v1/dialogs/{part(peer)}/mute", {"until_ms": until_ms}, key=key)

    # -- chats

    async def create_group(
        self,
        title: str,
        users: Iterable[str] = (),
        *,
        about: str = "",
        avatar: str = "",
        entry: str = "",
        key: str = "",
    ) -> Receipt:
        """The answer's `chat` is its id. `entry`: as `Chat` has it."""
        return await self._create("group", title, users, about, avatar, entry, key)

    async def create_supergroup(
        self,
        title: str,
        users: Iterable[str] = (),
        *,
        about: str = "",
        avatar: str = "",
        entry: str = "",
        key: str = "",
    ) -> Receipt:
        return await self._create("supergroup", title, users, about, avatar, entry, key)

    async def chat(self, chat: str) -> Chat:
        return Chat.of(await self._get(f"/v1/chats/{part(chat)}"))

    async def update_chat(
        self,
        chat: str,
        *,
        title: str | None = None,
        about: str | None = None,
        avatar: str | None = None,
        entry: str | None = None,
        key: str = "",
    ) -> Receipt:
        body = _given(title=title, about=about, avatar=avatar, entry=entry)
        return await self._write("PATCH", f"/v1/chats/{part(chat)}", body, key=key)

    async def dissolve(self, chat: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/chats/{part(chat)}", key=key)

    async def members(self, chat: str) -> AsyncGenerator[Member, None]:
        """Who is in it, by user id."""
        async for one in self._pages(f"/v1/chats/{part(chat)}/members", "members"):
            yield Member.of(one)

    async def add_members(self, chat: str, users: Iterable[str], *, key: str = "") -> Receipt:
        return await self._write("POST", f"/v1/chats/{part(chat)}/members", {"users": list(users)}, key=key)

    async def join(self, chat: str, *, key: str = "") -> Receipt:
        return await self._write("POST", f"/v1/chats/{part(chat)}/join", key=key)

    async def leave(self, chat: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/chats/{part(chat)}/members/me", key=key)

    async def kick(self, chat: str, user: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/chats/{part(chat)}/members/{part(user)}", key=key)

    async def set_role(self, chat: str, user: str, role: str, *, key: str = "") -> Receipt:
        """ "admin" or "member"."""
        return await self._write("PATCH", f"/v1/chats/{part(chat)}/members/{part(user)}", {"role": role}, key=key)

    async def hand_over(self, chat: str, user: str, *, key: str = "") -> Receipt:
        """My chat is his from now on, while he is a member; I am an admin of it."""
        return await self._write("PUT", f"/v1/chats/{part(chat)}/owner", {"user": user}, key=key)

    # -- people and sessions

    async def me(self) -> Profile:
        return Profile.of(await self._get("/v1/me"))

    async def profile(self, user: str) -> Profile:
        return Profile.of(await self._get(f"/v1/users/{part(user)}"))

    async def update_me(
        self, *, name: str | None = None, about: str | None = None, avatar: str | None = None, key: str = ""
    ) -> Receipt:
        return await self._write("PATCH", "/v1/me", _given(name=name, about=about, avatar=avatar), key=key)

    async def sessions(self) -> list[Session]:
        """Those that are still valid."""
        return [Session.of(one) for one in (await self._get("/v1/sessions"))["sessions"]]

    async def revoke(self, session: str, *, key: str = "") -> Receipt:
        """Ends a session of mine."""
        return await self._write("DELETE", f"/v1/sessions/{part(session)}", key=key)

    async def logout(self, *, key: str = "") -> Receipt:
        """Ends this session; close the client afterwards."""
        return await self._write("POST", "/v1/logout", key=key)

    # -- inside

    def _key(self) -> str:
        return system.new_key(self._entropy)

    async def _get(self, path: str) -> Json:
        return (await self._transport.call("GET", path)).body

    async def _write(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: dict[str, str] | None = None,
        message: str = "",
        key: str = "",
        durability: str = "",
    ) -> Receipt:
        write = Write(key or self._key(), method, path, body, query or {}, message, durability)
        return await self._writer.write(write)

    async def _about(self, message: str, method: str, rest: str, query: dict[str, str], key: str) -> Receipt:
        return await self._write(method, "/v1/messages/{message}" + rest, query=query, message=message, key=key)

    async def _mark(self, peer: str, what: str, message: str, key: str) -> Receipt:
        """Only what was delivered to us may be covered, so the mark says how far we are."""
        body = {"message": message, **await self._follower.place()}
        return await self._write("POST", f"/v1/dialogs/{part(peer)}/{what}", body, key=key)

    async def _create(
        self, kind: str, title: str, users: Iterable[str], about: str, avatar: str, entry: str, key: str
    ) -> Receipt:
        body: Json = {"kind": kind, "title": title, "users": list(users)}
        body |= {name: value for name, value in (("about", about), ("avatar", avatar), ("entry", entry)) if value}
        return await self._write("POST", "/v1/chats", body, key=key)


def _check(saved: Json, user: str) -> None:
    if saved.get("version") != SAVED_VERSION:
        raise ValueError(f"saved by version {saved.get('version')}, not {SAVED_VERSION}")
    if user and saved["user"] and saved["user"] != user:
        raise ValueError(f"saved for {saved['user']}, not {user}")


def _session(options: Options) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=options.connections_max)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}

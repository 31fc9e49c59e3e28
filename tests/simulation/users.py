"""People with the SDK of production: they write, read, move between regions, lose their connection, start their app
again. What they are shown and promised is checked as it comes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from random import Random
from typing import Any

from planb_sdk import (
    ApiError,
    Client,
    Closed,
    Draft,
    Options,
    OutboxFull,
    PlanBError,
    Receipt,
    Unauthenticated,
    Unreachable,
    Update,
)
from tests.simulation.ledger import Acknowledged
from tests.simulation.loop import Process
from tests.simulation.network import Session

EMOJI = ("+1", "heart")
RANKS = ("a", "i", "z")
HAD: ContextVar[set[int]] = ContextVar("HAD")
"""What had been shown when a mark said how far its client is: it may wait for its state to be loaded first."""


class User:
    """One account with one device."""

    def __init__(self, world: Any, name: str, token: str, regions: list[str]) -> None:
        self.world = world
        self.name = name
        self.token = token
        self.regions = regions
        """Those that are ready for people."""
        self.offered = regions
        """Those that the app knew when it was started."""
        self.random = Random(f"{world.seed} {name}")
        self.host = name
        self.client: Client
        self.process: Process
        self.apps = 0
        self.seen = 0
        """The greatest id that this person has seen or been promised."""
        self.chats: list[str] = []
        self.made: list[str] = []
        self.messages: list[tuple[str, str, str]] = []
        """(message id, conversation, sender), as they were shown."""
        self.firsts: Counter[tuple[str, str]] = Counter()
        self.spares: list[tuple[str, str]] = []
        """(session, token) of further devices, some of them revoked since."""
        self.busy = 0
        self.broken: BaseException | None = None

    # -- the app

    def open(self, region: str) -> None:
        """Starts the app."""
        self.apps += 1
        world = self.world
        self.process = Process(f"{self.name}#{self.apps}", f"{world.seed} {self.name} {self.apps}")
        world.network.hosts[self.process] = self.host
        self.firsts = Counter()
        self.offered = list(self.regions)
        order = sorted(self.regions, key=lambda one: one != region)
        urls = [f"http://{one}:1" for one in order]
        self.client = Client(
            urls,
            self.token,
            user=self.name,
            keep_state=True,
            options=Options(request_timeout_s=4.0, give_up_s=20.0, resend_after_s=1.5),
            session=Session(world.network),  # type: ignore[arg-type]
            entropy=self.process.entropy,
        )
        follower: Any = self.client._follower
        follower.place = self._placing(follower.place, self.client)
        world.loop.start(self.process, self._follow(self.client), f"{self.name} follows")

    def _placing(self, place: Callable[[], Awaitable[Any]], client: Client) -> Callable[[], Awaitable[Any]]:
        async def placed() -> Any:
            found = await place()
            HAD.set(self._had(client))
            return found

        return placed

    def kill_app(self) -> None:
        """The app is closed by force: its outbox is gone."""
        self.world.loop.kill(self.process)

    async def _follow(self, client: Client) -> None:
        while True:
            try:
                async for update in client.updates():
                    self._shown(update)
                return
            except Unauthenticated as error:
                self.broken = error
                self.world.unexpected(f"{self.name} was logged out", error)
                return
            except (PlanBError, ApiError) as error:
                self.world.note("follow", self.name, str(error)[:80])
                self.world.unexpected(f"{self.name} could not follow: {error!r}", error)
                return

    def _shown(self, update: Update) -> None:
        self._see(update.event)
        message = update.message
        if message is not None:
            self._see(message.id)
            self.world.shown(self, update.body["message"])
            if (message.id, message.conversation, message.sender) not in self.messages:
                self.messages.append((message.id, message.conversation, message.sender))
            if update.first:
                about = (message.sender, message.key or message.id)
                self.firsts[about] += 1
                if self.firsts[about] > 1:
                    self.world.ledger.broken(f"{self.name} was shown {about} as new twice")
        elif update.chat is not None and update.chat.id not in self.chats:
            self.chats.append(update.chat.id)
        self.world.note("shown", self.name, update.type, update.event)

    def _see(self, id: str) -> None:
        self.seen = max(self.seen, int(id))

    # -- what they do

    async def act(self, number: int) -> None:
        """One thing, whatever is possible. What is drawn depends on its number alone."""
        self.random = Random(f"{self.world.seed} act {number}")
        name = self.random.choices(ACTS, WEIGHTS)[0]
        if self.random.random() < self.world.plan.restless:
            name = "switch"
        doing: Callable[[], Awaitable[Receipt | None] | None] = getattr(self, f"_{name}")
        work = doing()
        if work is None:
            work = self._send()
            name = "send"
        if work is None:
            return
        await self._do(name, work)

    async def poison(self, how: str) -> None:
        """Writes what cannot be applied."""
        fields = {"about": f"p{self.random.randrange(100)}", "how": how}
        await self._do("poison", self.client._write("POST", "/v1/sim/poison", fields))

    async def _do(self, name: str, work: Awaitable[Receipt | None]) -> None:
        before, client, begun_s = self.seen, self.client, self.world.loop.time()
        self.busy += 1
        try:
            receipt = await work
        except (ApiError, Unreachable, OutboxFull, Closed) as error:
            code = error.code if isinstance(error, ApiError) else type(error).__name__
            self.world.refusals[f"{name} {code}"] += 1
            self.world.note("refused", self.name, name, code)
            if code in ("internal", "corrupt", "forked", "undecodable"):
                self.world.ledger.broken(f"{self.name}: {name} was answered {error}")
            return
        finally:
            self.busy -= 1
        self.world.acts[name] += 1
        if receipt is not None:
            self._promised(name, receipt, before, client)
            self.world.watching.taken(int(receipt.id), begun_s)
            if name in ("read", "clear"):
                self.world.watching.marked(self, int(receipt.id), HAD.get())

    def _had(self, client: Client) -> set[int]:
        """All messages that were ever shown to this person."""
        state = client.state
        loaded = {int(id) for known in state.messages.values() for id in known} if state else set()
        return loaded | {int(id) for id, _, _ in self.messages}

    def _promised(self, name: str, receipt: Receipt, before: int, client: Client) -> None:
        self.world.note("done", self.name, name, receipt.id, receipt.durability)
        record = self.world.ledger.of_id.get(int(receipt.id))
        dc = self.world.dc_of(int(receipt.id))
        app = self.apps if client is self.client else 0
        made = Acknowledged(
            int(receipt.id), receipt.key, self.name, name, dc, receipt.durability, receipt.replayed, app
        )
        self.world.acknowledged(made)
        if record is None:
            self.world.ledger.broken(f"{self.name}: {name} was promised as {receipt.id}, which no log ever held")
        if int(receipt.id) <= before and not any(map(self.world.misstamped, (before, int(receipt.id)))):
            self.world.ledger.broken(
                f"{self.name} had seen {before} when he wrote {name} {receipt.id}: the effect is not after its cause"
            )
        self._see(receipt.id)
        if "chat" in receipt.answer and receipt.answer["chat"] not in self.made:
            self.made.append(receipt.answer["chat"])
            self.chats.append(receipt.answer["chat"])
        if name == "send":
            place = (receipt.id, receipt.conversation, self.name)
            if place not in self.messages:
                self.messages.append(place)

    def _other(self) -> str:
        return self.random.choice([one for one in self.world.names if one != self.name] or [self.name])

    def _chat(self) -> str | None:
        return self.random.choice(self.chats[-4:]) if self.chats else None

    def _ours(self) -> str | None:
        """Rather one that I have made, where I may do as I like."""
        return self.random.choice(self.made[-4:]) if self.made and self.random.random() < 0.7 else self._chat()

    def _dialog(self) -> str:
        message = self._message() if self.random.random() < 0.5 else None
        return message[1] if message else self._chat() or self._other()

    def _message(self, mine: bool = False) -> tuple[str, str, str] | None:
        found = [one for one in self.messages if not mine or one[2] == self.name]
        return self.random.choice(found[-6:]) if found else None

    def _durability(self) -> str:
        return "remote" if self.random.random() < 0.15 else ""

    def _send(self) -> Any:
        to = self._chat() if self.random.random() < 0.6 else None
        text = f"{self.name} {self.random.randrange(10**6)}"
        return self.client.send(to or self._other(), text, durability=self._durability())

    def _reply(self) -> Any:
        to = self._message()
        return to and self.client.send(to[1], f"re {self.random.randrange(10**6)}", reply_to=to[0])

    def _edit(self) -> Any:
        message = self._message(mine=True)
        return message and self.client.edit(message[0], f"edited {self.random.randrange(10**6)}")

    def _recall(self) -> Any:
        message = self._message(mine=True)
        return message and self.client.recall(message[0])

    def _hide(self) -> Any:
        message = self._message()
        return message and self.client.hide(message[0])

    def _react(self) -> Any:
        message = self._message()
        return message and self.client.react(message[0], self.random.choice(EMOJI))

    def _unreact(self) -> Any:
        message = self._message()
        return message and self.client.unreact(message[0], self.random.choice(EMOJI))

    def _read(self) -> Any:
        message = self._message()
        return message and self.client.read(message[1], message[0])

    def _clear(self) -> Any:
        message = self._message()
        return message and self.client.clear(message[1], message[0])

    def _pin(self) -> Any:
        return self.client.pin(self._dialog(), self.random.choice((None, *RANKS)))

    def _mute(self) -> Any:
        """Or another setting of a dialog."""
        peer = self._dialog()
        match self.random.randrange(6):
            case 5:
                return self._later(peer)
            case 0 | 1:
                return self.client.mute(peer, self.random.choice((None, 10**12, 2 * 10**12)))
            case 2:
                return self.client.mark_unread(peer, self.random.random() < 0.8)
            case 3:
                return self.client.clear_draft(peer)
            case _:
                return self._drafted(peer)

    async def _later(self, peer: str) -> Receipt:
        """Something that is to be sent soon, and at times not after all, or from elsewhere."""
        at_ms = self.world.wall_ms() + self.random.randrange(1_000, 30_000)
        made = await self.client.schedule(peer, f"later {self.random.randrange(10**6)}", at_ms=at_ms)
        if self.random.random() < 0.3:
            await self.client.unschedule(made.answer["scheduled"])
        elif self.random.random() < 0.4:
            world, place = self.world, {"user": self.name, "scheduled": made.answer["scheduled"]}
            home = self.random.choice(list(world.homes.values()))
            await world.asked(home, "POST", "/sys/v1/scheduled/take", place)
            if self.random.random() < 0.2:
                why = {"code": "forbidden", "detail": "for a test"}
                await world.asked(home, "POST", "/sys/v1/scheduled/fail", place | why)
        return made

    async def _drafted(self, peer: str) -> Receipt:
        """Begun to write, and at times sent."""
        made = await self.client.set_draft(peer, f"begun {self.random.randrange(10**6)}")
        if self.random.random() < 0.5:
            await self.client.send(peer, f"from a draft {made.id}", draft=made.id)
        return made

    def _group(self) -> Any:
        users = self.random.sample(self.world.names, self.random.randint(0, len(self.world.names)))
        return self.client.create_group(f"g{self.random.randrange(100)}", users)

    def _supergroup(self) -> Any:
        users = self.random.sample(self.world.names, self.random.randint(0, len(self.world.names)))
        return self.client.create_supergroup(f"s{self.random.randrange(100)}", users)

    def _retitle(self) -> Any:
        chat = self._ours()
        return chat and self.client.update_chat(chat, title=f"t{self.random.randrange(100)}")

    def _add(self) -> Any:
        """Or say how the chat is entered, or let somebody in."""
        chat, other, client = self._ours(), self._other(), self.client
        match self.random.randrange(8):
            case 0:
                return chat and self._invited(chat)
            case 1:
                return chat and client.update_chat(chat, entry=self.random.choice(("open", "open", "approval")))
            case 2:
                return chat and self.random.choice((client.let_in, client.refuse))(chat, other)
        return chat and client.add_members(chat, [other])

    async def _invited(self, chat: str) -> Receipt:
        """Makes a link that others may find, and sometimes revokes one."""
        made = await self.client.create_invite(chat, approval=self.random.random() < 0.3)
        self.world.links.append(made.answer["link"])
        if self.random.random() < 0.3:
            await self.client.revoke_invite(chat, made.answer["invite"])
        return made

    def _join(self) -> Any:
        chats, client = self.world.chats_of_all(), self.client
        match self.random.randrange(6):
            case 0 if self.world.links:
                return client.accept_invite(self.random.choice(self.world.links[-6:]))
            case 1 if chats:
                return client.ask_to_join(self.random.choice(chats))
            case 2 if chats:
                return client.withdraw_request(self.random.choice(chats))
        return chats and client.join(self.random.choice(chats))

    def _leave(self) -> Any:
        chat = self._chat()
        return chat and self.client.leave(chat)

    def _kick(self) -> Any:
        """For now, or for good."""
        chat, client = self._ours(), self.client
        doing = self.random.choice((client.kick, client.kick, client.kick, client.ban, client.unban))
        return chat and doing(chat, self._other())

    def _role(self) -> Any:
        """Or the whole chat."""
        chat, other = self._ours(), self._other()
        if chat and self.random.random() < 0.3:
            return self.client.hand_over(chat, other)
        return chat and self.client.set_role(chat, other, self.random.choice(("admin", "member")))

    def _dissolve(self) -> Any:
        chat = self._ours()
        return self.client.dissolve(chat) if chat and self.random.random() < 0.2 else None

    def _rename(self) -> Any:
        """Or something else of one's own."""
        client, other = self.client, self._other()
        match self.random.randrange(11):
            case 10:
                handle = f"name{self.random.randrange(3)}"
                return self.random.choice((lambda: client.claim_handle(handle), client.release_handle))()
            case 8:
                return client.set_dnd(self.random.choice((None, 2 * 10**12)))
            case 9:
                token = f"t{self.random.randrange(4)}"
                return self.random.choice(
                    (lambda: client.register_device("d1", "fcm", token), lambda: client.forget_device("d1"))
                )()
            case 0:
                return self.random.choice((client.block, client.unblock, client.unblock))(other)
            case 1 | 2:
                return self.random.choice((client.ask_contact, client.accept_contact, client.delete_contact))(other)
        return self.client.update_me(name=f"n{self.random.randrange(100)}")

    def _novelty(self) -> Any:
        if not self.world.plan.versions:
            return None
        return self.client._write("POST", "/v1/sim/about", {"about": f"a{self.random.randrange(100)}"})

    async def _switch(self) -> None:
        self._move(self.random.choice(self.offered))

    def _move(self, region: str) -> None:
        self.world.note("switch", self.name, region)
        self.client.switch(f"http://{region}:1")

    async def _look(self) -> None:
        """Reads a history, as a person who scrolls."""
        peer = self._chat() or self._other()
        region = self.client._transport.region
        written = self.world.watching.own(self, peer, self.world.host_of(region))
        shown: set[int] = set()
        async for message in self.client.history(peer):
            self.world.shown(self, {"id": message.id, "conversation": message.conversation, "from": message.sender})
            self._see(message.id)
            shown |= {int(message.id), *map(int, message.copies)}
            if len(shown) > 20:
                break
        else:
            written |= {0}
        if region == self.client._transport.region:
            self.world.watching.looked(self, written, shown)

    async def _burst(self) -> None:
        """Several messages in one call, one of them perhaps into a chat that is not ours."""
        before, begun_s, client = self.seen, self.world.loop.time(), self.client
        drafts = [
            Draft(self._chat() or self._other(), f"{self.name} {self.random.randrange(10**6)}")
            for _ in range(self.random.randint(2, 5))
        ]
        for receipt in await client.send_many(drafts):
            if isinstance(receipt, Receipt):
                self._promised("send", receipt, before, client)
                self.world.watching.taken(int(receipt.id), begun_s)

    async def _session(self) -> None:
        """Logs in on one more device."""
        world, number = self.world, self.random.randrange(10**9)
        home = self.random.choice(list(world.homes.values()))
        fields = {"user": self.name, "device": f"d{number}"}
        made = await world.sys(home, "POST", "/sys/v1/tokens", fields, f"device{number}")
        self.spares.append((made["session"], made["token"]))

    def _revoke(self) -> Any:
        return self.client.revoke(self.random.choice(self.spares)[0]) if self.spares else None

    def _ghost(self) -> Any:
        """Somebody goes on with a token that may be revoked."""
        return self._haunt(*self.random.choice(self.spares), self.random.choice(self.regions)) if self.spares else None

    async def _haunt(self, session: str, token: str, region: str) -> None:
        over = self.world.watching.knows_revoked(region, session)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with Session(self.world.network).request(
                "GET", f"http://{region}:1/v1/state", headers=headers
            ) as answer:
                if over and answer.status == 200:
                    self.world.ledger.broken(f"{region} lets in session {session}, which it knows to be revoked")
        except (OSError, TimeoutError):
            pass

    async def _again(self) -> Receipt | None:
        """Somebody presses the button twice: the same intention under its key, through another region at times."""
        key = f"again{self.random.randrange(10**9)}"
        to, text = self._other(), f"twice {key}"
        pause_s, moves = self.random.random(), self.random.random() < 0.5
        region = self.random.choice(self.offered)
        first = asyncio.ensure_future(self.client.send(to, text, key=key))
        await asyncio.sleep(pause_s)
        if moves:
            self._move(region)
        try:
            await self.client.send(to, text, key=key)
        finally:
            receipt = await asyncio.gather(first, return_exceptions=True)
        if isinstance(receipt[0], BaseException):
            raise receipt[0]
        return receipt[0]


_TABLE = {
    "send": 24, "reply": 3, "edit": 5, "recall": 3, "hide": 2, "react": 5, "unreact": 2, "read": 6, "clear": 2,
    "pin": 2, "mute": 1, "group": 2, "supergroup": 2, "retitle": 2, "add": 5, "join": 4, "leave": 3, "kick": 7,
    "role": 2, "dissolve": 1, "rename": 2, "novelty": 2, "switch": 6, "look": 4, "again": 3,
    "session": 2, "revoke": 2, "ghost": 3, "burst": 3,
}  # fmt: skip
ACTS = tuple(_TABLE)
WEIGHTS = tuple(_TABLE.values())

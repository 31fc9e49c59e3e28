"""Plays conversations: makes the users and chats, and has each nick say, join, leave and kick from its own DC.

Each nick's messages are sent one after the other, in the log's order. Nicks wait for each other only where the whole
order is to be kept (`in_order`); otherwise they speak at the same time. A kick concerns somebody else in any case, so
everything before it is finished first, and the kicked nick goes on when its own DC knows of the kick.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from random import Random

from cli.cast import Cast
from cli.chatter import texts
from cli.conversation import Conversation, Join, Kick, Part, Say, Step, own, user_id
from core import limits
from planb_sdk import ApiError, Client, Draft

AT_ONCE = 64
"""Nicks that act at the same time."""
APPLIED_S_MAX = 60.0
OWNER = own("planb-host")
"""The nick that owns every channel."""


@dataclass
class Told:
    """A conversation that is being told."""

    conversation: Conversation
    peer: str = ""
    """Chat id of a channel; for a direct the conversation id, once something was said."""
    said: list[tuple[str, str]] = field(default_factory=list)
    """(nick, text) in the log's order."""
    keys: dict[str, list[str]] = field(default_factory=dict)
    """nick -> keys of its messages in the order in which it sent them."""
    joined: dict[str, str] = field(default_factory=dict)
    """nick -> the event of its last join."""
    place: int = 0
    """The next step."""
    clock: str = ""
    """X-Clock of what was said last, where the order is kept."""


class Narrator:
    """Tells conversations with a cast of clients."""

    def __init__(self, cast: Cast, conversations: Iterable[Conversation], *, in_order: bool = False) -> None:
        """`in_order`: a conversation stands in its chat as in its log, also between nicks. Where the speaker changes
        one waits for the other's answer and hands on its clock, so that the DCs need not have heard of each other."""
        self._cast = cast
        self._in_order = in_order
        self.tales = [Told(conversation) for conversation in conversations]
        self._at_once = asyncio.Semaphore(AT_ONCE)

    @property
    def messages(self) -> int:
        return sum(len(tale.said) for tale in self.tales)

    @property
    def acknowledged(self) -> int:
        """How many of the messages have been answered."""
        return sum(len(keys) for tale in self.tales for keys in tale.keys.values())

    async def prepare(self, guests: Sequence[str] = ()) -> None:
        """Users and chats; returns when every DC knows them. `guests`: nicks that are members of every channel from
        the beginning, and say nothing."""
        nicks = {nick: None for tale in self.tales for nick in tale.conversation.nicks}
        await self._cast.make([OWNER, *guests, *nicks])
        owner = self._cast.client(OWNER)
        for tale in self.tales:
            if tale.conversation.kind == "direct":
                continue
            listeners = {*self._cast.watchers.values(), *guests}
            fits = len({*tale.conversation.nicks, *listeners, OWNER}) <= limits.GROUP_MEMBERS_MAX
            members = [user_id(nick) for nick in sorted(listeners)]
            make = owner.create_group if fits else owner.create_supergroup
            tale.peer = (await make(title_of(tale.conversation), members)).chat
        await self._cast.settled()

    def go_on(self, rng: Random, messages: int) -> None:
        """Everybody who is still there has more to say: so many messages in all, in place of what was told, so that
        nothing grows. Nothing if nobody is there."""
        speaking = [tale for tale in self.tales if tale.conversation.nicks]
        here = [_present(tale.conversation) for tale in speaking]
        said: list[list[Step]] = [[] for _ in speaking]
        for text in texts(rng, messages if speaking else 0):
            place = rng.randrange(len(speaking))
            said[place].append(Say(rng.choice(here[place]), text))
        for tale, nicks, steps in zip(speaking, here, said, strict=True):
            old = tale.conversation
            tale.conversation = Conversation(old.name, tuple(steps), tuple(nicks), old.kind)
            tale.place = 0
            tale.said.clear()
            tale.keys.clear()

    async def tell(self, share: float) -> None:
        """Goes on until this share (0–1) of every conversation is told."""
        await asyncio.gather(*(self._tell_one(tale, share) for tale in self.tales))

    async def _tell_one(self, tale: Told, share: float) -> None:
        steps = tale.conversation.steps
        end = min(len(steps), round(len(steps) * share))
        while tale.place < end:
            stretch: list[Step] = []
            while tale.place < end and not isinstance(steps[tale.place], Kick):
                stretch.append(steps[tale.place])
                tale.place += 1
            await self._act(tale, stretch)
            if tale.place < end:
                kick = steps[tale.place]
                assert isinstance(kick, Kick)
                tale.place += 1  # whatever comes of it: a kick that was done would be refused for ever
                await self._kick(tale, kick)

    async def _act(self, tale: Told, stretch: Sequence[Step]) -> None:
        by_nick: dict[str, list[Say | Join | Part]] = {}
        for step in stretch:
            assert not isinstance(step, Kick)
            by_nick.setdefault(step.nick, []).append(step)
            if isinstance(step, Say):
                tale.said.append((step.nick, step.text))
        if self._in_order:
            for nick, steps in groupby(stretch, attrgetter("nick")):
                client = self._cast.client(nick)
                client.see(tale.clock)
                await self._act_as(tale, nick, [step for step in steps if not isinstance(step, Kick)])
                tale.clock = client.clock
            return
        await asyncio.gather(*(self._act_as(tale, nick, steps) for nick, steps in by_nick.items()))

    async def _act_as(self, tale: Told, nick: str, steps: Sequence[Say | Join | Part]) -> None:
        async with self._at_once:
            client = self._cast.client(nick)
            texts: list[str] = []
            for step in steps:
                if isinstance(step, Say):
                    texts.append(step.text)
                    if len(texts) < limits.BATCH_MESSAGES_MAX:
                        continue
                await self._say(tale, nick, client, texts)
                texts = []
                if isinstance(step, Join):
                    tale.joined[nick] = (await client.join(tale.peer)).id
                elif isinstance(step, Part):
                    await client.leave(tale.peer)
            await self._say(tale, nick, client, texts)

    async def _say(self, tale: Told, nick: str, client: Client, texts: Sequence[str]) -> None:
        if not texts:
            return
        peer = tale.peer or self._other(tale, nick)
        rest = list(texts)
        while rest:
            sent = await client.send_many(Draft(peer, text) for text in rest)
            for receipt in sent:
                if isinstance(receipt, ApiError):
                    break
                tale.keys.setdefault(nick, []).append(receipt.key)
                rest.pop(0)
            else:
                continue
            if receipt.code != "forbidden" or not tale.peer:
                raise receipt
            # A concurrent kick reached this DC: he comes back, as the log shows him speaking.
            tale.joined[nick] = (await client.join(tale.peer)).id

    def _other(self, tale: Told, nick: str) -> str:
        first, second = tale.conversation.nicks
        return user_id(second if nick == first else first)

    async def _kick(self, tale: Told, kick: Kick) -> None:
        """By `kick.by`, who is made an admin; by the owner in the victim's DC where the two can't see each other."""
        cast = self._cast
        home = cast.region(kick.nick)
        together = cast.connected(cast.region(kick.by), home)
        region = cast.region(kick.by) if together else home
        owner = cast.also_at(OWNER, region)
        if joined := tale.joined.get(kick.nick):  # else nobody heard the answer to it
            await cast.applied(region, joined, APPLIED_S_MAX)
        if together:
            await owner.set_role(tale.peer, user_id(kick.by), "admin")
        kicker = cast.client(kick.by) if together else owner
        if self._in_order:
            kicker.see(tale.clock)
        done = await kicker.kick(tale.peer, user_id(kick.nick))
        tale.clock = kicker.clock
        await cast.applied(home, done.id, APPLIED_S_MAX)


def _present(conversation: Conversation) -> list[str]:
    """Who is there at its end; all, if nobody is: who speaks comes back."""
    joining = {step.nick for step in conversation.steps if isinstance(step, Join)}
    here = {nick: None for nick in conversation.nicks if nick not in joining}
    for step in conversation.steps:
        if isinstance(step, Join):
            here[step.nick] = None
        elif isinstance(step, Part | Kick):
            here.pop(step.nick, None)
    return list(here or conversation.nicks)


def title_of(conversation: Conversation) -> str:
    """A chat's title: no control characters, not too long, not empty."""
    return "".join(c for c in conversation.name if c.isprintable()).strip()[: limits.NAME_CHARS_MAX] or "channel"

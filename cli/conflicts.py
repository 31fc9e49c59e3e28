"""Conflicting writes on both sides of a cut, and what must have become of them once it heals."""

import asyncio

from cli.cast import Cast
from cli.conversation import own, user_id
from planb_sdk import Client

HOST, WRITER, GUEST = (own(f"planb-conflict-{role}") for role in ("host", "writer", "guest"))


class Conflicts:
    """`left` and `right` are cut apart between `prepare` and `outcome`."""

    expected = 2
    """Conflicts that must be listed: the profile field and the pin."""

    def __init__(self, cast: Cast, left: str, right: str) -> None:
        self._cast = cast
        self._left = left
        self._right = right
        self._chat = ""
        self._message = ""
        self._newest: dict[str, str] = {}

    async def prepare(self) -> None:
        """A group of three, and a message that everybody knows."""
        cast = self._cast
        for nick in (HOST, WRITER, GUEST):
            cast.settle_at(nick, self._left)
        await cast.make([HOST, WRITER, GUEST])
        members = [user_id(WRITER), user_id(GUEST)]
        self._chat = (await cast.client(HOST).create_group("conflicts", members)).chat
        self._message = (await cast.client(WRITER).send(self._chat, "written before the cut")).id
        await cast.settled()

    async def provoke(self) -> None:
        """The same things, changed on both sides."""
        await asyncio.gather(self._on_the_left(), self._on_the_right())

    async def _on_the_left(self) -> None:
        at = self._left
        await self._as(HOST, at).update_me(about="as seen from the left")
        await self._as(HOST, at).kick(self._chat, user_id(GUEST))
        await self._as(WRITER, at).recall(self._message)
        await self._as(WRITER, at).pin(self._chat, "i")
        self._newest["left"] = (await self._as(WRITER, at).send(self._chat, "only the left knows this")).id
        await self._as(HOST, at).read(self._chat, self._newest["left"])

    async def _on_the_right(self) -> None:
        at = self._right
        await self._as(HOST, at).update_me(about="as seen from the right")
        await self._as(GUEST, at).leave(self._chat)
        await self._as(GUEST, at).join(self._chat)
        await self._as(GUEST, at).send(self._chat, "I have joined, and nobody here knows of a kick")
        await self._as(WRITER, at).edit(self._message, "edited while it was being recalled")
        await self._as(WRITER, at).pin(self._chat, None)
        self._newest["right"] = (await self._as(WRITER, at).send(self._chat, "only the right knows this")).id
        await self._as(HOST, at).read(self._chat, self._newest["right"])

    def _as(self, nick: str, at: str) -> Client:
        return self._cast.also_at(nick, at)

    async def outcome(self) -> dict[str, bool]:
        """Claims, each looked at in every datacenter."""
        names = self._cast.names
        about = {(await self._as(HOST, name).me()).about for name in names}
        present = {user_id(GUEST) in [m.user async for m in self._as(HOST, name).members(self._chat)] for name in names}
        recalled = set()
        guest_heard = set()
        for name in names:
            history = [m async for m in self._as(HOST, name).history(self._chat)]
            recalled |= {(m.text, m.recalled) for m in history if m.id == self._message}
            guest_heard.add(any(m.sender == user_id(GUEST) and not m.system for m in history))
        pins, unread, marks = set(), set(), set()
        for name in names:
            dialogs = {d.conversation: d async for d in self._as(WRITER, name).dialogs()}
            pins.add(dialogs[self._chat].pin)
            mine = {d.conversation: d async for d in self._as(HOST, name).dialogs()}[self._chat]
            unread.add(mine.unread)
            marks.add(tuple(sorted(mine.read.items())))
        return {
            "a field that was changed on both sides has one value everywhere": len(about) == 1,
            "a kick beats a concurrent join": present == {False},
            "an accepted message stays although its sender was kicked": guest_heard == {True},
            "a recall beats a concurrent edit": recalled == {(None, True)},
            "pinned or not is the same everywhere": len(pins) == 1,
            "reads on both sides add up": len(marks) == 1 and len(unread) == 1,
        }

"""What people call users and chats, for lines that people read."""

from collections.abc import Awaitable, Callable

from planb_sdk import ApiError, Client, Message, Unreachable

KEPT_MAX = 2_000
DIALOGS_MAX = 200
"""So many are looked through for the other one of a direct talk."""


class Called:
    """Each is asked for once, and again when it changed. Who has no name that we may know is called by his id."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[str, str] = {}
        self._talks: dict[str, str] = {}
        """A direct talk -> the other one."""

    async def user(self, user: str) -> str:
        """A name, and "you" for oneself."""
        return "you" if user == self._client.user else await self._known(user, self._name)

    async def conversation(self, id: str, message: Message | None = None) -> str:
        """A chat's title in quotes, or with whom one talks. `message`: one of it."""
        if not id.startswith("D"):
            return await self._known(id, self._title)
        if message is not None and message.sender != self._client.user:
            self._talks[id] = message.sender
        if id not in self._talks:
            await self._look_through()
        return await self.user(self._talks[id]) if id in self._talks else id

    def changed(self, id: str) -> None:
        """Its name may be another one now."""
        self._names.pop(id, None)

    async def _known(self, id: str, ask: Callable[[str], Awaitable[str]]) -> str:
        if id not in self._names:
            try:
                name = _printable(await ask(id)) or id
            except ApiError:
                name = id
            except Unreachable:
                return id  # and asked again
            if len(self._names) >= KEPT_MAX:
                self._names.clear()
            self._names[id] = name
        return self._names[id]

    async def _name(self, user: str) -> str:
        return (await self._client.profile(user)).name

    async def _title(self, chat: str) -> str:
        return f"“{(await self._client.chat(chat)).title}”"

    async def _look_through(self) -> None:
        seen = 0
        async for dialog in self._client.dialogs():
            seen += 1
            if dialog.user is not None:
                self._talks[dialog.conversation] = dialog.user.id
            if seen >= DIALOGS_MAX:
                break


def _printable(name: str) -> str:
    """A name is somebody else's text: it moves no cursor."""
    return "".join(char if char.isprintable() else " " for char in name)

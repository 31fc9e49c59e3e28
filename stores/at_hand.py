"""The view as far as its cache goes: what is at hand is answered at once, so whoever asks need not be waited for."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn, TypeVar, cast

from core.action import ChatView, SessionView, UserView, View
from core.membership import Membership, Roll
from stores.view import KeptRoll, NotAtHand, StoreView

__all__ = ["AtHand", "NotAtHand", "at_hand", "at_once"]

T = TypeVar("T")


def at_once(asked: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to that waits for nothing. NotAtHand if it does wait: then it is given up."""
    try:
        asked.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    asked.close()
    raise NotAtHand


def at_hand(view: StoreView) -> View:
    """What the view has in its cache; NotAtHand for all else. Nothing in it waits."""
    return cast(View, AtHand(view))


class AtHand:
    """Of core.action.View what the writes of every moment read; `at_hand` has it whole."""

    def __init__(self, view: StoreView) -> None:
        self._view = view

    async def user(self, user: str) -> UserView | None:
        found: UserView | None = self._view.cached(("users", user))
        return found

    async def session(self, session: str) -> SessionView | None:
        return self.session_now(session)

    def session_now(self, session: str) -> SessionView | None:
        """`session`, without a coroutine: every request asks."""
        found: SessionView | None = self._view.cached(("sessions", session))
        return found

    async def chat(self, chat: str) -> ChatView | None:
        found: ChatView | None = self._view.cached(("chats", chat))
        return found if found is not None and found.kind else None

    async def direct(self, conversation: str) -> tuple[str, str] | None:
        found: tuple[str, str] | None = self._view.cached(("directs", conversation))
        return found

    async def membership(self, chat: str, user: str) -> Membership:
        found: Membership = self._view.cached(("membership", chat, user))
        return found

    async def roll(self, chat: str) -> Roll:
        kept: KeptRoll = self._view.cached(("roll", chat))
        if kept.stale:
            raise NotAtHand
        return kept.roll

    async def blocks_of(self, user: str) -> Mapping[str, int]:
        found: Mapping[str, int] = self._view.cached(("blocks_of", user))
        return found

    def forgo(self, lane: int, seq: int) -> None:
        """Nothing was taken."""

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, NoReturn]]:
        """The view's other reads: they ask a store."""
        return _elsewhere


async def _elsewhere(*_: object) -> NoReturn:
    raise NotAtHand

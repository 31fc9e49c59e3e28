"""What the broker is given by whoever composes a process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from core import limits
from core.action import Position
from core.system import Clock, Entropy
from stores.ports import HotStore
from stores.view import StoreView


@dataclass(frozen=True, slots=True)
class BrokerDeps:
    hot: HotStore
    view: StoreView
    verify_token: Callable[[str], Awaitable[tuple[str, str]]]
    """token -> (user, session). Raises core.errors.Unauthenticated; cheap enough to be asked at every heartbeat."""
    open_cursor: Callable[[str, str], Position]
    """(user, cursor) -> where it stands. Raises core.errors.Invalid for one that is not this user's."""
    entropy: Entropy
    clock: Clock
    connections_max: int = limits.CONNECTIONS_MAX
    """Websockets at a time."""
    listen: Callable[[], AsyncIterator[bytes]] | None = None
    """As HotStore.listen, where what is announced does not come through the hot store."""
    heartbeat_s: int = limits.HEARTBEAT_S
    tick_s: float = 1.0
    """How often the epoch is looked at and a share of the connections gets its heartbeat."""

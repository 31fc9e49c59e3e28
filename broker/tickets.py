"""One-time tickets, for clients that can set no header on a websocket and want to be known before its first frame.

Kept in the process that issued them: with several processes on one port, such a client says hello with its token.
"""

from base64 import urlsafe_b64encode
from typing import NamedTuple

from core import limits
from core.errors import Unauthenticated
from core.system import Clock, Entropy


class Holder(NamedTuple):
    user: str
    session: str
    token: str


class Tickets:
    """Bounded, of one user and of all; the oldest make room, a user's own first."""

    def __init__(self, entropy: Entropy, clock: Clock) -> None:
        self._entropy = entropy
        self._clock = clock
        self._waiting: dict[str, tuple[Holder, int]] = {}
        self._of: dict[str, list[str]] = {}
        """user -> his tickets, the oldest first."""

    def issue(self, holder: Holder) -> str:
        """Valid once, for TICKET_S."""
        ticket = urlsafe_b64encode(self._entropy(24)).decode()
        mine = self._of.get(holder.user, [])
        if len(mine) >= limits.TICKETS_OF_USER_MAX:
            self._pop(mine[0])
        while len(self._waiting) >= limits.TICKETS_MAX:
            self._pop(next(iter(self._waiting)))
        self._waiting[ticket] = (holder, self._clock() + limits.TICKET_S * 1000)
        self._of.setdefault(holder.user, []).append(ticket)
        return ticket

    def take(self, ticket: str) -> Holder:
        """Whose it is; Unauthenticated the second time, and after it has expired."""
        holder, until_ms = self._pop(ticket)
        if holder is None or until_ms < self._clock():
            raise Unauthenticated("the ticket is not valid, or no longer")
        return holder

    def _pop(self, ticket: str) -> tuple[Holder | None, int]:
        holder, until_ms = self._waiting.pop(ticket, (None, 0))
        if holder is not None:
            mine = self._of[holder.user]
            mine.remove(ticket)
            if not mine:
                del self._of[holder.user]
        return holder, until_ms

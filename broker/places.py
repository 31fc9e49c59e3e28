"""How many streams a user has in this process, and how many each of his sessions."""

from collections import Counter

from broker.tickets import Holder
from core import limits
from core.errors import TooMany

_RETRY_AFTER_S = 5


class Places:
    """Bounded, so that nobody takes what is there for all."""

    def __init__(self) -> None:
        self.of_user: Counter[str] = Counter()
        self.of_session: Counter[str] = Counter()

    def take(self, holder: Holder) -> None:
        """One more. TooMany if he has all that he can have; else `leave` it in the end."""
        if self.of_session[holder.session] >= limits.STREAMS_OF_SESSION_MAX:
            self._refuse("session", holder)
        if self.of_user[holder.user] >= limits.STREAMS_OF_USER_MAX:
            self._refuse("user", holder)
        self.of_user[holder.user] += 1
        self.of_session[holder.session] += 1

    def leave(self, holder: Holder) -> None:
        """It is over."""
        for counts, name in ((self.of_user, holder.user), (self.of_session, holder.session)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]

    def _refuse(self, whose: str, holder: Holder) -> None:
        raise TooMany(f"this {whose} has all the streams that it can have", retry_after_s=_RETRY_AFTER_S)

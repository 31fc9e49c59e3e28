"""Which streams a user has in this process, and which each of his sessions."""

from collections import Counter
from collections.abc import Callable

from broker.tickets import Holder
from core import limits
from core.errors import TooMany

_RETRY_AFTER_S = 5


class Places:
    """Bounded, so that nobody takes what is there for all. Where there is none left, a session's next stream takes the
    place of its oldest: of a link that flaps the server learns late, and the device would be locked out until then."""

    def __init__(self) -> None:
        self.of_user: Counter[str] = Counter()
        self.of_session: dict[str, dict[Visit, None]] = {}
        """The oldest first."""
        self.leaving: Counter[str] = Counter()
        """Per user, those that gave up their places and are not closed yet."""

    def take(self, visit: "Visit", holder: Holder) -> None:
        """A place for it, the session's oldest one's if need be. TooMany if there is none to be had; else `leave` it in
        the end."""
        mine = self.of_session.get(holder.session, {})
        if len(mine) >= limits.STREAMS_OF_SESSION_MAX or self.of_user[holder.user] >= limits.STREAMS_OF_USER_MAX:
            if not mine:
                raise TooMany("this user has all the streams that he can have", retry_after_s=_RETRY_AFTER_S)
            if self.leaving[holder.user] >= limits.STREAMS_LEAVING_MAX:
                raise TooMany("too many streams of this user are being closed", retry_after_s=_RETRY_AFTER_S)
            oldest = next(iter(mine))
            self._give_up(oldest, holder)
            self.leaving[holder.user] += 1
            oldest.displace()
        self.of_user[holder.user] += 1
        self.of_session.setdefault(holder.session, {})[visit] = None

    def leave(self, visit: "Visit", holder: Holder) -> None:
        """It is over."""
        if visit.displaced:
            _less(self.leaving, holder.user)
        else:
            self._give_up(visit, holder)

    def _give_up(self, visit: "Visit", holder: Holder) -> None:
        _less(self.of_user, holder.user)
        mine = self.of_session[holder.session]
        del mine[visit]
        if not mine:
            del self.of_session[holder.session]


class Visit:
    """One stream's place, from when it is known whose it is."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._holder: Holder | None = None
        self._end: Callable[[], None] | None = None
        self.displaced = False
        """Another stream has its place: it is to end."""

    def take(self, holder: Holder) -> None:
        """Repeatable. TooMany."""
        if self._holder is None:
            self._places.take(self, holder)
            self._holder = holder

    def ended_by(self, end: Callable[[], None]) -> None:
        """What to do, from now on, when another stream takes the place; at once if one has."""
        self._end = end
        if self.displaced:
            end()

    def displace(self) -> None:
        """Once."""
        self.displaced = True
        if self._end is not None:
            self._end()

    def leave(self) -> None:
        """It is over."""
        if self._holder is not None:
            self._places.leave(self, self._holder)


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]

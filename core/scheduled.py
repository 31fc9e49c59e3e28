"""Messages that are to be sent later. Whoever sends one does so under a key that follows from it, so however many
datacenters send it, it is one message."""

from typing import Any, Literal, NamedTuple

RESERVED = "s:"
"""How the keys begin under which scheduled messages are sent: nobody else's do."""

Stage = Literal["waiting", "failed", "sent", "unscheduled"]


class Scheduled(NamedTuple):
    """One of them, as a datacenter has applied it."""

    user: str
    scheduled: str
    message: dict[str, Any]
    """What it says and to whom, as a request of message.send."""
    at_ms: int
    made: int
    """The first event that made it."""
    home: str
    """The datacenter that is to send it."""
    failure: dict[str, str] | None
    """{"code", "detail"} of the problem for which it was given up."""
    sent: int
    """The message, 0 for none: of several copies the first that is known."""
    unscheduled: bool
    stamps: dict[str, int]

    @property
    def state(self) -> Stage:
        """What was sent stays sent, whatever else was written meanwhile."""
        if self.sent:
            return "sent"
        if self.unscheduled:
            return "unscheduled"
        return "failed" if self.failure else "waiting"


def key_of(scheduled: str) -> str:
    """The key under which it is sent."""
    return RESERVED + scheduled


def scheduled_of(key: str) -> str:
    """What is sent under this key; "" for a key of a client's own."""
    return key[len(RESERVED) :] if key.startswith(RESERVED) else ""

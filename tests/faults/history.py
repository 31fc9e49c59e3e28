"""What clients of one conversation did and were told, as plain data: the checker's only input.

Times are seconds of one clock, the test process's. Ids are integers. A message is told apart by its key, which its
writer made, so that a message without a known id (the answer was lost) can be recognised when it is read.
"""

from typing import NamedTuple

OK, UNKNOWN, REFUSED = "ok", "unknown", "refused"


class Write(NamedTuple):
    """One try to send a message. The same key may be tried again, also in another datacenter."""

    client: str
    dc: str
    key: str
    began_s: float
    ended_s: float
    outcome: str
    """OK: acknowledged. REFUSED: the server said that nothing happened. UNKNOWN: anything else."""
    id: int = 0
    """As acknowledged."""


class Recall(NamedTuple):
    """One try to recall a message that its client had sent."""

    client: str
    dc: str
    key: str
    """Of the message."""
    began_s: float
    ended_s: float
    outcome: str


class Shown(NamedTuple):
    """A message as a read shows it."""

    id: int
    key: str
    recalled: bool
    ids: tuple[int, ...] = ()
    """Further ids of the same message, if it has copies."""


class Read(NamedTuple):
    """The newest messages of the conversation, oldest first."""

    client: str
    dc: str
    began_s: float
    ended_s: float
    messages: tuple[Shown, ...]
    whole: bool
    """Nothing older was left out."""


class History(NamedTuple):
    writes: list[Write]
    recalls: list[Recall]
    reads: list[Read]
    final: dict[str, tuple[Shown, ...]]
    """By datacenter: the whole conversation when all was quiet and whole again."""
    misstamped: set[int]
    """Ids whose time lay further ahead than a clock may be, when a client began the call that told him of them: they
    were stamped by a wrong clock, or late in a long call. Such an id has lost its order (docs/clock.md)."""

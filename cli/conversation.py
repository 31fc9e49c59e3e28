"""What is said and who is there: the script that the demo plays, whether read from a log or generated.

A conversation is a sequence of steps. Its nicks become users (`user_id`), each at home in one DC (`home_dc`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Literal, NamedTuple

from cli.chatter import texts
from core.actions.fields import in_a_name
from core.limits import GROUP_MEMBERS_MAX, NAME_CHARS_MAX


@dataclass(frozen=True, slots=True)
class Say:
    nick: str
    text: str


@dataclass(frozen=True, slots=True)
class Join:
    nick: str


@dataclass(frozen=True, slots=True)
class Part:
    nick: str


@dataclass(frozen=True, slots=True)
class Kick:
    nick: str
    by: str


Step = Say | Join | Part | Kick


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that the API would refuse, by name. It is in no step; the messages around it are."""

    file: str
    line: int
    """Counted from 1, as editors do."""
    nick: str
    size: int
    """Of the text, in UTF-8 bytes."""
    reason: Literal["too_long", "nul", "surrogate"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The steps in their order, and what became of each line of the log they were read from.

    `lines == events + skipped + markers + empty + len(refused)`; all of them are 0 if it was generated.
    In a channel every speaker is a member when he speaks; a direct has two nicks and nothing but Say.
    """

    name: str
    steps: tuple[Step, ...]
    nicks: tuple[str, ...]
    """Everyone who occurs, in the order of first appearance."""
    kind: Literal["channel", "direct"] = "channel"
    lines: int = 0
    """Lines that are not blank."""
    events: int = 0
    """Lines that became steps (one, or two for a rename)."""
    skipped: int = 0
    """Lines of no known form."""
    markers: int = 0
    """Session starts, day changes and the like."""
    empty: int = 0
    """Messages without a text: they cannot be sent."""
    refused: tuple[Refusal, ...] = ()
    inserted: int = 0
    """Joins that the log did not show."""
    dropped: int = 0
    """Joins of members, parts and kicks of those who were not there."""

    def __post_init__(self) -> None:
        if self.kind == "direct" and (
            len(set(self.nicks)) != 2 or not all(isinstance(step, Say) for step in self.steps)
        ):
            raise ValueError(f"direct conversation {self.name!r}: two nicks and only messages are allowed")

    @property
    def messages(self) -> int:
        """How many messages there are to send."""
        return sum(isinstance(step, Say) for step in self.steps)


class Normalised(NamedTuple):
    steps: tuple[Step, ...]
    nicks: tuple[str, ...]
    inserted: int
    dropped: int


def with_membership(steps: Iterable[Step]) -> Normalised:
    """The same steps with a membership that adds up; applying it twice changes nothing more.

    Who speaks or kicks is a member before it: a Join is inserted where there was none. A Join of a member and
    a Part or Kick of someone absent are dropped. Who kicks himself parts. No Say is dropped or moved.
    """
    present: set[str] = set()
    nicks: dict[str, None] = {}
    result: list[Step] = []
    inserted = dropped = 0

    def join(nick: str) -> None:
        present.add(nick)
        nicks[nick] = None
        result.append(Join(nick))

    for step in steps:
        if isinstance(step, Join):
            if step.nick in present:
                dropped += 1
            else:
                join(step.nick)
        elif isinstance(step, Say):
            if step.nick not in present:
                join(step.nick)
                inserted += 1
            result.append(step)
        elif step.nick not in present:
            dropped += 1
        elif isinstance(step, Part) or step.by == step.nick:
            present.remove(step.nick)
            result.append(Part(step.nick))
        else:
            if step.by not in present:
                join(step.by)
                inserted += 1
            present.remove(step.nick)
            result.append(step)
    return Normalised(tuple(result), tuple(nicks), inserted, dropped)


_YOUR_ID = "Uyou"
_ID_CHARS_MAX = 63
"""Of a user id, after its U."""
_ID_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def own(name: str) -> str:
    """The nick of one of the demo's own people. No log has it: a nick of a log has no space."""
    return f" {name}"


YOU = own("you")
"""The nick that is a newcomer's to play with."""


def name_of(nick: str) -> str:
    """What a nick is called: itself, but for characters that no name may hold."""
    name = "".join(char if in_a_name(char) else "\ufffd" for char in nick.removeprefix(own("")))
    return name[:NAME_CHARS_MAX] if name.strip() else user_id(nick)


def user_id(nick: str) -> str:
    """The nick as a user id: `U` + `[A-Za-z0-9._-]{1,63}`. Different nicks have different ids.

    What an id cannot hold, and the dot, is written as `.xx`, the hex of each UTF-8 byte: `x|away` is
    `Ux.7caway`. A nick that would be too long, or is empty, is `..` and 60 digits of its BLAKE2b; an escape
    never begins with two dots, so the two forms cannot meet. Nicks are case-sensitive, as written. YOU is `Uyou`,
    so that it can be typed; who is called so in a log has the other form.
    """
    if nick == YOU:
        return _YOUR_ID
    raw = nick.encode("utf-8", "surrogatepass")
    body = "".join(chr(byte) if chr(byte) in _ID_PLAIN else f".{byte:02x}" for byte in raw)
    if not 0 < len(body) <= _ID_CHARS_MAX or f"U{body}" == _YOUR_ID:
        body = ".." + blake2b(raw, digest_size=30).hexdigest()
    return "U" + body


def home_dc(nick: str, dcs: Sequence[str]) -> str:
    """The DC that serves this nick: the same in every run, for the same `dcs` in the same order."""
    if not dcs:
        raise ValueError("a nick needs a DC to live in")
    digest = blake2b(nick.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return dcs[int.from_bytes(digest, "big") % len(dcs)]


_NICKS = (
    "mira", "tomasz", "[x]", "x|away", "x^", "{x}", "Лена", "小林", "omar", "نور", "ana-maria", "_zoe_",
    "דנה", "jürgen", "k8s`bot", "priya", "bjørn", "Đức", "민준", "fatima", "o.neill", "chidi", "noor\\2",
    "yuki", "aleks", "Ωmega", "sam", "sofía", "wei", "ingrid", "rahul", "élodie", "pavel", "amara", "liam", "zeynep",
    "mateo", "keiko", "hugo", "leila",
)  # fmt: skip


class _Room(NamedTuple):
    name: str
    members: tuple[str, ...]
    """All who are ever in it."""
    at_first: int
    """How many of them are there from the start."""
    share: float
    """Of all messages."""


_ROOMS = (
    _Room("all-hands", _NICKS, 28, 0.45),
    _Room("lunch", _NICKS[:9], 7, 0.15),
    _Room("release", _NICKS[5 : 5 + GROUP_MEMBERS_MAX], 17, 0.15),
)
_PAIRS = 5
_CHURN_EVERY = 25
_CHURN_MIN = 4
assert len(set(_NICKS)) == len(_NICKS)
assert _ROOMS[0].at_first > GROUP_MEMBERS_MAX


def generate(seed: int, messages: int = 600) -> list[Conversation]:
    """A supergroup, two groups of at most 20, and five directs, with exactly this many messages in all.

    The same seed and number give the same conversations. Each channel sees parts, joins and kicks; its first
    member stays and is the only one who kicks, so that he can be its owner. Steps are normal already.
    """
    if messages < 0:
        raise ValueError(f"messages must not be negative: {messages}")
    rng = Random(seed)
    said = texts(rng, messages)
    result: list[Conversation] = []
    for room in _ROOMS:
        count = int(messages * room.share)
        result.append(_channel(rng, room, [said.pop() for _ in range(count)]))
    pool = rng.sample(_NICKS, 2 * _PAIRS)
    for number in range(_PAIRS):
        one, other = pool[2 * number : 2 * number + 2]
        count = len(said) // (_PAIRS - number)
        result.append(_direct(rng, one, other, [said.pop() for _ in range(count)]))
    return result


def _channel(rng: Random, room: _Room, said: list[str]) -> Conversation:
    founder, *others = room.members
    rng.shuffle(others)
    here, away = others[: room.at_first - 1], others[room.at_first - 1 :]
    steps: list[Step] = [Join(nick) for nick in (founder, *here)]
    # One full cycle at least, whatever the number of messages: each kind of change is always seen.
    churn = sorted(rng.randrange(len(said) + 1) for _ in range(max(_CHURN_MIN, len(said) // _CHURN_EVERY)))
    changes = 0
    for position in range(len(said) + 1):
        while changes < len(churn) and churn[changes] == position:
            if changes % 2:
                here.append(away.pop(rng.randrange(len(away))))
                steps.append(Join(here[-1]))
            else:
                away.append(here.pop(rng.randrange(len(here))))
                steps.append(Kick(away[-1], founder) if changes % 4 else Part(away[-1]))
            changes += 1
        if position < len(said):
            steps.append(Say(rng.choice((founder, *here)), said[position]))
    # The members at first in their order, then the others as they appear: what with_membership would find.
    nicks = dict.fromkeys(step.nick for step in steps)
    return Conversation(room.name, tuple(steps), tuple(nicks))


def _direct(rng: Random, one: str, other: str, said: list[str]) -> Conversation:
    steps = tuple(Say(rng.choice((one, other)), text) for text in said)
    return Conversation(f"{one} & {other}", steps, (one, other), "direct")

"""What the process that applies tells the others of its datacenter, so that they may keep rows in memory as it does.

Per process a `Line`: what was invalidated, how far the lanes came, what is announced to clients, and answers. All that
waits goes in one piece of `News`, and pieces arrive in order or not at all (the line breaks): so whoever has an answer
has forgotten before what its own write changed, and a broker hears who was removed before it hears what came after.
Whoever has no line keeps nothing: `Mirror`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from core import limits
from core.clock import HybridClock
from core.tables import Effect
from stores.ports import Mark, Stamped
from stores.progress import Place, Progress
from stores.view import StoreView, is_kept


class Forgotten(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An effect, as far as it says which rows are not what they were."""

    table: str
    key: tuple[str, str]
    """Its first two parts; "" where there is one."""
    stamp: int
    role: bool
    """Whether it sets a member's role."""


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """To what a process has asked."""

    number: int
    value: int = 0
    code: str = ""
    """Of the error; "" for none."""
    detail: str = ""


class Pulse(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How the process that applies is; told every LINE_PULSE_MS."""

    incarnation: int
    epoch: int
    """The hot store's."""
    doubt: str
    """Why its clock is not to be trusted; "" if it is."""
    serves: bool
    missing: dict[str, str]
    """As /readyz has it."""


class News(msgspec.Struct, frozen=True, array_like=True, gc=False):
    forgotten: list[Forgotten] = []
    applied: dict[int, tuple[int, int]] = {}
    """lane -> seq and id, of those that have moved; in a line's first news of all."""
    parked: list[Place] | None = None
    """All that is parked, where that has changed."""
    announced: list[bytes] = []
    """Frames for the brokers (announce.py)."""
    answers: list[Answer] = []
    pulse: Pulse | None = None


def forgotten(effects: Sequence[Stamped]) -> list[Forgotten]:
    """What others may keep of it."""
    return [
        Forgotten(
            effect.table,
            (str(effect.key[0]), str(effect.key[1]) if len(effect.key) > 1 else ""),
            stamp,
            "role" in effect.columns,
        )
        for stamp, effect in effects
        if is_kept(effect)
    ]


def effect_of(one: Forgotten) -> Stamped:
    """What `invalidate` takes for the effect that this was made of."""
    columns: dict[str, Any] = {"role": None} if one.role else {}
    return Stamped(one.stamp, Effect(one.table, one.key, columns))


class Line:
    """What waits to be told to one process."""

    def __init__(self, progress: Progress, brokers: bool) -> None:
        self.brokers = brokers
        """Whether it wants what is announced."""
        self.wake = asyncio.Event()
        """Set when there may be something to `take`."""
        self.overrun = False
        """It was too slow: what it was to hear is lost, and with it the line."""
        self._progress = progress
        self._applied: dict[int, Mark] = {}
        self._parked: list[Place] = []
        self._first = True
        self._forgotten: list[Forgotten] = []
        self._announced: list[bytes] = []
        self._answers: list[Answer] = []
        self._pulse: Pulse | None = None
        self._waiting_bytes = 0

    def forget(self, what: Sequence[Forgotten]) -> None:
        self._forgotten += what
        self._grown(_FORGOTTEN_BYTES * len(what))

    def announce(self, frame: bytes) -> None:
        self._announced.append(frame)
        self._grown(len(frame))

    def answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._grown(len(answer.detail))

    def beat(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._grown(0)

    def _grown(self, size: int) -> None:
        self._waiting_bytes += size
        if self._waiting_bytes > limits.LINE_WAITING_BYTES_MAX:
            self.overrun = True
        self.wake.set()

    def take(self) -> News | None:
        """All that there is to tell, as of now: no lane is told to be further than what was forgotten for it."""
        self.wake.clear()
        moved = {lane: mark for lane, mark in self._progress.applied.items() if self._applied.get(lane) != mark}
        places = self._progress.places()
        parked = places if self._first or places != self._parked else None
        if not (moved or parked or self._forgotten or self._announced or self._answers or self._pulse or self._first):
            return None
        news = News(
            self._forgotten,
            {lane: (mark.seq, mark.id) for lane, mark in moved.items()},
            parked,
            self._announced,
            self._answers,
            self._pulse,
        )
        self._applied.update(moved)
        self._parked = places
        self._first = False
        self._forgotten, self._announced, self._answers, self._pulse = [], [], [], None
        self._waiting_bytes = 0
        return news


_FORGOTTEN_BYTES = 100
"""In round figures."""


class Tidings:
    """All lines of the process that applies."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pulse: Pulse | None = None
        self.lines: set[Line] = set()

    def open(self, brokers: bool) -> Line:
        """From now on its process hears everything; `close` it."""
        line = Line(self._progress, brokers)
        if self._pulse is not None:
            line.beat(self._pulse)
        self.lines.add(line)
        return line

    def close(self, line: Line) -> None:
        self.lines.discard(line)

    @property
    def serves(self) -> bool:
        """What the last pulse said."""
        return self._pulse is not None and self._pulse.serves

    @property
    def heard(self) -> bool:
        """Whether anybody wants what is announced."""
        return any(line.brokers for line in self.lines)

    def forget(self, effects: Sequence[Stamped]) -> None:
        """As StoreView.told."""
        if self.lines and (what := forgotten(effects)):
            for line in self.lines:
                line.forget(what)

    async def announce(self, frame: bytes) -> None:
        """As HotStore.announce, for those that are brokers."""
        for line in self.lines:
            if line.brokers:
                line.announce(frame)

    def beat(self, pulse: Pulse) -> None:
        self._pulse = pulse
        for line in self.lines:
            line.beat(pulse)

    async def run(self) -> None:
        """Wakes the lines whenever something is applied, until it is cancelled."""
        while True:
            await self._progress.moved()
            for line in self.lines:
                line.wake.set()


class Mirror:
    """What a process knows that does not apply: by the news of the one that does."""

    def __init__(self, view: StoreView, clock: HybridClock) -> None:
        self.progress = Progress()
        self.moves = 0
        """Counts the news by which some lane moved."""
        self._view = view
        self._clock = clock
        self._fresh = False
        view.forget_all(keeps=False)

    def lost(self) -> None:
        """There is no line: what changes now is not told."""
        self._fresh = False
        self._view.forget_all(keeps=False)

    def hear(self, news: News) -> None:
        """In order; the first after `lost` has everything."""
        if not self._fresh:
            self._view.forget_all(keeps=True)
            self._fresh = True
            self._load({lane: Mark(*at) for lane, at in news.applied.items()}, news.parked or [])
        else:
            if news.forgotten:
                self._view.invalidate([effect_of(one) for one in news.forgotten])
            if news.parked is not None:
                applied = {lane: Mark(*at) for lane, at in news.applied.items()}
                self._load({**self.progress.applied, **applied}, news.parked)
            else:
                for lane, at in news.applied.items():
                    self.progress.advance(lane, Mark(*at))
        if news.applied:
            self.moves += 1
        for _, id in news.applied.values():
            self._clock.see(id)
        if news.pulse is not None:
            self._view.epoch = news.pulse.epoch

    def _load(self, applied: dict[int, Mark], parked: Sequence[Place]) -> None:
        self.progress.load(applied, parked)
        self.progress.tell()

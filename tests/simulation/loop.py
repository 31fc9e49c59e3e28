"""An event loop for many simulated processes: virtual time, one thread, the same run for the same seed.

Time stands still while something is ready and jumps to the next timer when nothing is. Which process is next is drawn
from the seed; within a process the order is that of a real loop. A callback belongs to the process in whose context it
was registered, so a process can be killed (its callbacks are dropped: no `finally` runs, as with kill -9) or frozen
(they are kept until it wakes up).
"""

import asyncio
import contextlib
import contextvars
import gc
import heapq
import itertools
import logging
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class Killed(Exception):
    """The process that somebody waits for is gone."""


class Stuck(Exception):
    """Nothing is ready, and nothing will ever be."""


class Process:
    """One simulated process. `seed` feeds everything that it draws."""

    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.random = Random(seed)
        self.dead = False
        self.frozen = False
        self.knows_new = True
        """Does its version know every action?"""
        self.fuse = 0
        """Dies before the callback that makes this 0, if it is not 0 now."""
        self.over = False
        """Has done its work: that it is killed then is no crash."""
        self.held: list[asyncio.Handle] = []
        self.tasks: list[SimTask] = []
        """Kept so that nothing of a dead process is collected, and closed, while the simulation runs."""
        self.on_death: list[Callable[[], None]] = []
        self.steps = 0

    def context(self) -> contextvars.Context:
        """A context in which this is the present process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return context

    def entropy(self, n: int) -> bytes:
        return self.random.randbytes(n)

    def __repr__(self) -> str:
        return f"<{self.name}>"


OUTSIDE = Process("outside", "outside")
"""Who is no process of the planet: the simulation itself, servers of stores, the wire."""
PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process", default=OUTSIDE)

_task_numbers = itertools.count()


class SimTask(asyncio.Task[Any]):
    """Hashed by its number: sets of tasks have the same order in every run."""

    _number: int

    def __new__(cls, *args: Any, **kwargs: Any) -> "SimTask":
        made = super().__new__(cls)
        made._number = next(_task_numbers)
        return made

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.BaseEventLoop):
    """`perturbed`: how often (0 to 1) another process than the first in line is taken."""

    def __init__(self, random: Random, perturbed: float = 0.2, steps_max: int = 20_000_000) -> None:
        super().__init__()
        self._random = random
        self._perturbed = perturbed
        self._now_s = 0.0
        self._steps_max = steps_max
        self._clock_resolution = 0.0
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        """What nobody handled."""
        self.killing: Callable[[Process], None] | None = None
        """Told of a process before it is killed."""
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    # -- time and order

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready
        scheduled: list[asyncio.TimerHandle] = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._forget(heapq.heappop(scheduled))
        if not ready:
            if not scheduled:
                raise Stuck("every process waits for another")
            self._now_s = max(self._now_s, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now_s:
            timer = heapq.heappop(scheduled)
            if timer._cancelled:
                self._forget(timer)
            else:
                timer._scheduled = False
                ready.append(timer)
        while ready and not self._stopping:
            handle = self._take(ready)
            if not handle._cancelled:
                self._step(handle)

    def _forget(self, timer: asyncio.TimerHandle) -> None:
        timer._scheduled = False
        self._timer_cancelled_count -= 1

    def _take(self, ready: "deque[asyncio.Handle]") -> asyncio.Handle:
        if len(ready) > 1 and self._random.random() < self._perturbed:
            chosen = ready[self._random.randrange(len(ready))]._context.get(PROCESS)
            for place, handle in enumerate(ready):
                if handle._context.get(PROCESS) is chosen:
                    del ready[place]
                    return handle
        return ready.popleft()

    def _step(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(PROCESS) or OUTSIDE
        if process.dead:
            return
        if process.frozen:
            process.held.append(handle)
            return
        if process.fuse:
            process.fuse -= 1
            if not process.fuse:
                self.kill(process)
                return
        self.steps += 1
        process.steps += 1
        if self.steps > self._steps_max:
            raise Stuck(f"more than {self._steps_max} steps: somebody runs in circles")
        handle._run()

    # -- processes

    def start(self, process: Process, work: Coroutine[Any, Any, T], name: str = "") -> "asyncio.Task[T]":
        """Runs `work` as a task of `process`."""
        return self.create_task(work, name=name or process.name, context=process.context())

    def kill(self, process: Process) -> None:
        """kill -9: from now on it does nothing, not even clean up."""
        if process.dead:
            return
        if self.killing is not None:
            self.killing(process)
        process.dead = True
        process.held.clear()
        for tell in process.on_death:
            self.call_soon(tell, context=OUTSIDE.context())

    def freeze(self, process: Process) -> None:
        """SIGSTOP."""
        process.frozen = True

    def thaw(self, process: Process) -> None:
        """SIGCONT: everything that was due meanwhile happens now."""
        process.frozen = False
        self._ready.extend(process.held)
        process.held.clear()

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, *, context: contextvars.Context | None = None
    ) -> SimTask:
        task = SimTask(work, loop=self, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS) or OUTSIDE
        process.tasks.append(task)
        if len(process.tasks) > 500 and not process.dead:
            process.tasks = [one for one in process.tasks if not one.done()]
        return task

    # -- what a loop has besides

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Inline; the caller goes on a little later, as after a thread."""
        done = self.create_future()
        try:
            result = func(*args)
        except BaseException as error:
            self.call_later(self._random.random() / 1_000, _settle, done, error, None)
        else:
            self.call_later(self._random.random() / 1_000, _settle, done, None, result)
        return done

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _write_to_self(self) -> None:
        """There is no other thread to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There is nothing outside."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Whoever leaves a generator open does so in every run."""


def _settle(done: "asyncio.Future[Any]", error: BaseException | None, result: Any) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)


@contextlib.contextmanager
def running(random: Random, perturbed: float = 0.2) -> Iterator[SimLoop]:
    """A loop, and afterwards nothing that is left of what ran on it. The collector rests meanwhile: when it runs
    depends on what happened before."""
    global _task_numbers
    _task_numbers = itertools.count()
    OUTSIDE.__init__("outside", "outside")  # type: ignore[misc]
    gc.disable()
    loop = SimLoop(random, perturbed)
    try:
        yield loop
    finally:
        _sweep(loop)
        gc.enable()


def _sweep(loop: SimLoop) -> None:
    """What never ended is dropped in silence: a dead process's coroutines complain when they are collected."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop._ready.clear()
            loop._scheduled.clear()
            loop.set_exception_handler(lambda *_: None)
            loop.close()
            OUTSIDE.tasks.clear()
            gc.collect()
    finally:
        sys.unraisablehook = hook
        logging.disable(logging.NOTSET)


def run(seed: str, main: Callable[[SimLoop], Coroutine[Any, Any, T]], perturbed: float = 0.2) -> T:
    """Runs `main(loop)` to its end."""
    with running(Random(f"{seed} loop"), perturbed) as loop:
        return loop.run_until_complete(main(loop))

"""Histories on real engines: what each datacenter of a simulated history was given goes, in that order and with its
repetitions, through production's apply into Valkey (log, hot state) and SQLite files, and everything that may be asked
has to be answered as it was in memory, where the invariants judged it.

`python -m tests.simulation.real_engines --seeds 20 --jobs 2`; exit code 1 if an answer differs.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

if __name__ == "__main__" and os.environ.get("PYTHONHASHSEED") != "0":
    # The order of sets of strings is part of a history.
    os.execve(sys.executable, [sys.executable, "-m", "tests.simulation.real_engines", *sys.argv[1:]],
              os.environ | {"PYTHONHASHSEED": "0"})  # fmt: skip

import tests.simulation.novelty
import tests.simulation.poison_action  # noqa: F401
from core import ids
from core.errors import PlanBError
from events.adapters.valkey import ValkeyLog
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.valkey_hot import ValkeyHot
from tests.simulation.asking import shown_to
from tests.simulation.engine_bugs import BUGS, BY_NAME, EngineBug, PlantingError, planted
from tests.simulation.final import differences
from tests.simulation.heard import Broken, Lived, Script, lived
from tests.simulation.plan import Plan, plan_of
from tests.simulation.repeating import TwiceHot, TwiceLog, TwiceMessages, TwiceRelational
from tests.simulation.report import Caught
from tests.support.crash import How, Strike
from tests.support.crash_real import RealSite
from tests.support.crash_site import Life, Site, live, play, state_of
from tests.support.valkey import ValkeyServer, servers

LIVES = 6
"""How often a process dies in the run that is struck."""
HOWS = (How.BEFORE, How.AFTER, How.REFUSED, How.UNANSWERED, How.HOT_LOST)


OTHERWISE = " is shown something else than in the history"


class Engines(NamedTuple):
    """Two servers of a worker's own, emptied for each run."""

    log: ValkeyServer
    hot: ValkeyServer


class WholeSite(RealSite):
    """With its log in Valkey, too. Every other death of the process is one of the log's server as well."""

    def __init__(self, folder: Path, engines: Engines, updates_kept: int, now_ms: int) -> None:
        super().__init__(folder, engines.hot, now_ms)
        engines.log.ask("FLUSHALL")
        self.folder = folder
        self._engines = engines
        self._updates_kept = updates_kept
        self._deaths = 0
        self.twice = False
        """Is every write given twice? To be set before it is opened."""

    async def open(self) -> None:
        await super().open()
        await self.hot.close()
        self.hot = ValkeyHot(self._engines.hot.url, updates_kept=self._updates_kept)
        self.log = await ValkeyLog.connect(self._engines.log.url)
        if self.twice:
            self.log, self.hot = TwiceLog(self.log), TwiceHot(self.hot)
            self.relational, self.messages = TwiceRelational(self.relational), TwiceMessages(self.messages)

    async def kill(self) -> None:
        await super().kill()
        await self.log.close()
        self._deaths += 1
        if self._deaths % 2:
            self._engines.log.kill()
            self._engines.log.start()


class Replay:
    """One script on both kinds of engines."""

    def __init__(self, history: Lived, script: Script, engines: Engines, folder: Path, number: int) -> None:
        self._history = history
        self._script = script
        self._engines = engines
        self._folder = folder
        self._number = number
        self._kept = history.plan.updates_kept
        self._now_ms = ids.time_ms_of(max(one.id for one in script.events))
        self._sites = 0
        self.counts: Counter[str] = Counter()

    async def differences(self) -> list[str]:
        """What differs, in words."""
        wanted = await self._in_memory(self._kept)
        found = await self._on_engines()
        told = [f"in memory: {name}: {what}" for name, what in wanted.items() if name.endswith(OTHERWISE) and what]
        told += [f"as given: {one}" for one in differences(wanted, found["as given"])]
        told += [f"with stores of an earlier day: {one}" for one in differences(wanted, found["again"])]
        wanted = await self._in_memory(10_000, any_order=True)
        told += [f"struck: {one}" for one in differences(wanted, await self._struck())]
        return [f"{self._script.dc}: {one}" for one in told]

    async def _in_memory(self, kept: int, any_order: bool = False) -> dict[str, Any]:
        site = Site(now_ms=self._now_ms)
        site.hot = MemoryHot(clock=lambda: 0.0, updates_kept=kept)
        life = await play(self._script, site)
        found = await self._asked(life, any_order)
        await life.end()
        return found

    async def _on_engines(self) -> dict[str, dict[str, Any]]:
        """As it was given, every write twice, and then with each store as it was at an earlier moment: everything after
        that is brought into it again, and into the others, which have it."""
        site = self._site(self._kept)
        site.twice = True
        try:
            found = {"as given": await self._with_a_copy(site)}
            shutil.rmtree(site.folder)
            (site.folder.parent / f"{site.folder.name} copy").rename(site.folder)
            for file in site.folder.glob("messages.db*"):
                file.unlink()
            life = await live(site, repeat(Strike()))
            assert await life.survive(life.applier.tick)
            found["again"] = await self._asked(life, False)
            await life.end()
            self.counts["recoveries from older stores"] += 1
        finally:
            await site.close()
        return found

    async def _with_a_copy(self, site: WholeSite) -> dict[str, Any]:
        fed = self._script.fed
        half = self._script._replace(fed=fed[: len(fed) // 2])
        life = await play(half, site)
        await life.end()
        await site.kill()
        shutil.copytree(site.folder, site.folder.parent / f"{site.folder.name} copy")
        life = await play(self._script._replace(fed=fed[len(fed) // 2 :]), site)
        found = await self._asked(life, False)
        await life.end()
        await site.kill()
        return found

    async def _struck(self) -> dict[str, Any]:
        """Processes die at moments of the seed's, calls fail, the hot store is lost."""
        random = Random(f"{self._history.plan.seed} {self._script.dc} struck")
        strikes = [Strike(random.randrange(8 * len(self._script.fed)), random.choice(HOWS)) for _ in range(LIVES)]
        site = self._site(10_000)
        try:
            life = await play(self._script, site, chain(strikes, repeat(Strike())))
            found = await self._asked(life, True)
            await life.end()
        finally:
            await site.close()
        self.counts.update(f"struck: {strike.struck.partition('.')[0]}" for strike in strikes if strike.struck)
        return found

    def _site(self, kept: int) -> WholeSite:
        self._sites += 1
        return WholeSite(
            self._folder / f"{self._script.dc} {self._number} {self._sites}", self._engines, kept, self._now_ms
        )

    async def _asked(self, life: Life, any_order: bool) -> dict[str, Any]:
        """Everything. What the end of the history had shown has to be shown here."""
        script = self._script
        found = {"shown": await shown_to(script.users, life)}
        if script.ended:
            for user, shown in self._history.shown.items():
                found[f"{user}{OTHERWISE}"] = differences(shown, found["shown"][user])
        if self._kept == 10_000 or any_order:
            found["state"] = await state_of(script, life, any_order)
        if not any_order:
            for owner in (*script.users, *script.chats):
                found[f"list of {owner}"] = await life.site.hot.updates(owner, 0, 100_000)
                found[f"trimmed of {owner}"] = await life.site.hot.trimmed(owner)
        self.counts["answers compared"] += sum(
            len(one) if isinstance(one, dict | list) else 1 for one in found.values()
        )
        return found


class Told(NamedTuple):
    """What a worker tells of a history."""

    seed: str
    broken: str
    """What the simulation itself found."""
    differing: list[str]
    counts: dict[str, int]


def replayed(plan: Plan) -> Told:
    """One history, on engines of its own."""
    try:
        history = lived(plan)
    except Broken as broken:
        return Told(plan.seed, str(broken), [], {})
    return on_engines(history)


def on_engines(history: Lived) -> Told:
    """As far as nothing differs."""
    counts: Counter[str] = Counter()
    differing: list[str] = []
    with tempfile.TemporaryDirectory() as base, servers(Path(base)) as make:
        engines = Engines(make("always"), make())
        for number, script in enumerate(history.scripts):
            replay = Replay(history, script, engines, Path(base), number)
            logging.disable()  # that stores fail is what is meant here
            try:
                differing += asyncio.run(replay.differences())
            finally:
                logging.disable(logging.NOTSET)
            counts.update(replay.counts)
            counts["datacenters"] += 1
            counts["records"] += sum(map(len, script.fed))
            counts["batches"] += len(script.fed)
            if differing:
                break
    return Told(history.plan.seed, "", differing, dict(counts))


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.real_engines")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--plant", help="a bug in the Lua or the SQL, or `all`: is it noticed?")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    args = parser.parse_args(argv)
    return _plant(args) if args.plant else _many(args)


def _many(args: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    failed: dict[str, list[str]] = {}
    for told in _all([plan_of(str(seed)) for seed in range(args.first, args.first + args.seeds)], args.jobs):
        counts.update(told.counts)
        counts["histories"] += 1
        wrong = [told.broken] if told.broken else told.differing
        if wrong:
            failed[told.seed] = wrong
        print(f"{told.seed:>7}  {'; '.join(wrong)[:2_000] or 'the same'}", flush=True)
    print(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    if args.json:
        print(json.dumps({"counts": counts, "failed": {seed: wrong[:3] for seed, wrong in failed.items()}}))
    return 1 if failed else 0


def _plant(args: argparse.Namespace) -> int:
    names = [bug.name for bug in BUGS] if args.plant == "all" else args.plant.split(",")
    missed = 0
    for name in names:
        seeds, by = caught(BY_NAME[name], args.first)
        missed += not by
        if args.json:
            print(json.dumps(Caught(name, seeds, BY_NAME[name].seeds, by)._asdict()), flush=True)
        else:
            print(f"{name:55} {f'caught by history {seeds}: {by[:200]}' if by else 'NOT CAUGHT'}", flush=True)
    return 1 if missed else 0


def caught(bug: EngineBug, first: int) -> tuple[int, str]:
    """How many histories it took, and what was noticed; "" if nothing was within the budget."""
    for number in range(bug.seeds):
        history = lived(bug.plan(str(first + number)))
        try:
            with planted(bug):
                told = on_engines(history)
        except PlantingError:
            raise
        except (AssertionError, PlanBError, TimeoutError) as error:
            return number + 1, f"{type(error).__name__}: {error} {getattr(error, 'private', '')}"
        if told.differing:
            return number + 1, told.differing[0]
    return bug.seeds, ""


def _all(plans: Sequence[Plan], jobs: int) -> Iterator[Told]:
    if jobs == 1:
        yield from map(replayed, plans)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=10) as pool:
        yield from pool.imap_unordered(replayed, plans)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

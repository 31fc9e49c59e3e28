"""The demo with a person: three datacenters that stay up, a conversation that trickles on, and a picture of it all."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from random import Random
from time import monotonic
from typing import Any

from cli import hints
from cli.cast import Cast
from cli.control import ControlServer
from cli.conversation import YOU, Conversation, name_of, user_id
from cli.ending import Ending
from cli.narrator import OWNER, Narrator, title_of
from cli.planet import Planet, Site
from cli.screen import DcLine, Picture, Screen
from core.errors import Conflict, Invalid, PlanBError
from planb_sdk import PlanBError as SdkError

REFRESH_S = 1.0
REVIVE_S = 1.0
SNAPSHOT_S = 60.0
TRICKLE_S = 0.5
"""Between two small pieces of the conversations."""
TRICKLE_STEPS = 3
ROUND_MESSAGES, ROUND_PER_TICK = 100, 2
"""When the conversations are told: so many more at a time, and how fast."""
NOTES_KEPT = 40
NOTE_CHARS_MAX = 150


class Live:
    """One running demo."""

    def __init__(self, planet: Planet, conversations: Iterable[Conversation], seed: int, ending: Ending) -> None:
        self._planet = planet
        self._cast = Cast(planet.regions, planet.sys_key, watched=False)
        self._narrator = Narrator(self._cast, conversations, in_order=True)
        self._names = tuple(planet.sites)
        self._ending = ending
        self._password = secrets.token_urlsafe(9)
        self._rng = Random(seed)
        self._notes: deque[str] = deque(maxlen=NOTES_KEPT)
        self._screen = Screen(sys.stdout)
        self._began_s = monotonic()
        self._rebuilding: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._redraw)
        control = ControlServer({"link": self._link, "dc": self._dc, "try": self._try}, self._planet.home)
        await self._cast.open()
        try:
            self._screen.say("making users and chats …")
            await self._prepare()
            for line in self._page():
                self._screen.say(line)
            self._screen.hint(hints.short(os.getpid(), self._names))
            await control.start()
            async with asyncio.TaskGroup() as group:
                for work in (self._talk(), self._revive(), self._come_home(), self._snap(), self._draw()):
                    group.create_task(work)
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            with contextlib.suppress(OSError):  # a terminal that is gone needs no tidying
                self._screen.leave()
                self._screen.say("stopping the datacenters …")
            await control.stop()
            await self._cast.close()

    async def _prepare(self) -> None:
        self._cast.settle_at(YOU, self._names[0])
        await self._narrator.prepare([YOU])
        await self._cast.set_password(YOU, self._password)

    # -- what a person is told

    @property
    def _urls(self) -> dict[str, str]:
        return {name: site.url for name, site in self._planet.sites.items()}

    def _person(self) -> hints.Person:
        tale = next((tale for tale in self._narrator.tales if tale.peer), None)
        friends = (nick for one in self._narrator.tales for nick in one.conversation.nicks if nick != YOU)
        return hints.Person(
            user=user_id(YOU),
            password=self._password,
            token=self._cast.token(YOU),
            chat=tale.peer if tale else user_id(YOU),
            title=title_of(tale.conversation) if tale else name_of(YOU),
            friend=user_id(next(friends, OWNER)),
        )

    def _page(self) -> list[str]:
        return hints.page(self._urls, self._person(), os.getpid())

    async def _try(self, words: list[str]) -> dict[str, Any]:
        person = self._person()
        return {
            **{key: value for key, value in person._asdict().items() if key != "friend"},
            "endpoints": self._urls,
            "variables": hints.variables(self._urls, person),
            "hints": [hint._asdict() for hint in hints.hints(self._names, person, os.getpid())],
            "page": self._page(),
        }

    def _redraw(self) -> None:
        with contextlib.suppress(OSError):  # gone: its SIGHUP comes, or the next picture notices
            self._screen.redraw()

    async def _draw(self) -> None:
        while True:
            lines = await asyncio.gather(*(self._line(site) for site in self._planet.sites.values()))
            links = {pair: link.cut_now for pair, link in self._planet.links.items() if pair[0] < pair[1]}
            try:
                self._screen.draw(Picture(lines, links, list(self._notes), monotonic() - self._began_s))
            except OSError:
                self._ending.end(signal.SIGHUP)
            await asyncio.sleep(REFRESH_S)  # a period, not a condition

    async def _line(self, site: Site) -> DcLine:
        if not site.process.running:
            return DcLine(site.name, site.url, "down" if site.disks.exists() else "burnt")
        try:
            async with self._cast.sys(site.name) as sys_client:
                status = await sys_client.call("GET", "/sys/v1/status")
                digest = await sys_client.call("GET", "/sys/v1/digest")
        except PlanBError:
            return DcLine(site.name, site.url, "starting")
        lags = status["lag_ms"].values()
        return DcLine(
            site.name,
            site.url,
            "serving",
            events=sum(digest["applied"].values()),
            behind=sum(status["replication"]["behind"].values()),
            lag_p50_ms=max((lag["p50_ms"] for lag in lags), default=None),
            lag_p99_ms=max((lag["p99_ms"] for lag in lags), default=None),
            digest=digest["digest"]["total"],
            lane=", ".join(status["lanes"]),
        )

    def _note(self, text: str) -> None:
        short = _short(text)
        if not self._notes or not self._notes[-1].endswith(short):  # a bad day says the same again and again
            self._notes.append(f"{datetime.now():%H:%M:%S} {short}")

    # -- what goes on

    async def _talk(self) -> None:
        """Tells the conversations slowly; when they end, their people go on to talk. A bad day is noted."""
        total = max(len(tale.conversation.steps) for tale in self._narrator.tales)
        ticks = total / TRICKLE_STEPS
        while True:
            await self._tell(max(1, round(ticks)))
            self._narrator.go_on(self._rng, ROUND_MESSAGES)
            ticks = ROUND_MESSAGES / ROUND_PER_TICK

    async def _tell(self, ticks: int) -> None:
        for tick in range(1, ticks + 1):
            try:
                await self._narrator.tell(tick / ticks)
            except (PlanBError, SdkError) as error:
                self._note(f"a client says: {error}")
            await asyncio.sleep(TRICKLE_S)  # a period, not a condition

    async def _revive(self) -> None:
        """What ends by itself is named and started again, as a supervisor would."""
        while True:
            for site in self._planet.sites.values():
                for note in await site.revive():
                    self._note(note)
            await asyncio.sleep(REVIVE_S)  # a period, not a condition

    async def _come_home(self) -> None:
        """Who went elsewhere while his datacenter was down goes back when that has what the others have."""
        while True:
            for name in self._names:
                if self._cast.strays(name) and await self._caught_up(name):
                    count = len(self._cast.call_home(name))
                    self._note(f"{count} {'person' if count == 1 else 'people'} of {name} went home")
            await asyncio.sleep(REVIVE_S)  # a period, not a condition

    async def _caught_up(self, name: str) -> bool:
        """Has it applied all that the others had applied a moment ago? No, if one of the others does not tell."""
        elsewhere = [site for site in self._planet.sites.values() if site.name != name and site.process.running]
        if name in self._rebuilding or not self._planet.site(name).process.running:
            return False
        try:
            known = [await self._applied(site.name) for site in elsewhere]
            await asyncio.sleep(REVIVE_S)  # a moment, as promised
            here = await self._applied(name)
        except PlanBError:
            return False
        return all(here.get(lane, 0) >= seq for applied in known for lane, seq in applied.items())

    async def _applied(self, name: str) -> dict[str, int]:
        """Lane -> how far."""
        async with self._cast.sys(name) as sys_client:
            applied: dict[str, int] = (await sys_client.call("GET", "/sys/v1/status"))["applied"]
        return applied

    async def _snap(self) -> None:
        while True:
            for site in self._planet.sites.values():
                if site.process.running:
                    try:
                        done = await site.snapshot()
                        self._note(f"snapshot {done['id']}: {done['rows']:,} rows")
                    except PlanBError as error:
                        self._note(f"no snapshot of {site.name}: {error.detail}")
            await asyncio.sleep(SNAPSHOT_S)  # a period, not a condition

    # -- verbs of other terminals

    async def _link(self, words: list[str]) -> dict[str, Any]:
        verb, *names = words
        done = {}
        if verb != "list":
            if len(names) != 2:
                raise Invalid(f"name two datacenters: planb link {verb} {' '.join(list(self._planet.sites)[:2])}")
            before = self._links()
            for part in (self._planet, self._cast):
                (part.cut if verb == "cut" else part.heal)(*names)
            link = f"link {names[0]} – {names[1]}"
            if self._links() == before:
                done = {"did": f"{link} {'was cut already' if verb == 'cut' else 'was not cut'}"}
            else:
                done = self._done(f"{link} {'is cut' if verb == 'cut' else 'is healed'}")
        return {**done, "links": self._links()}

    def _links(self) -> dict[str, str]:
        return {f"{a} → {b}": "cut" if link.cut_now else "ok" for (a, b), link in self._planet.links.items()}

    async def _dc(self, words: list[str]) -> dict[str, Any]:
        verb, *names = words
        if verb == "list":
            return {"datacenters": {name: self._state(site) for name, site in self._planet.sites.items()}}
        if len(names) != 1:
            raise Invalid(f"name one datacenter: planb dc {verb} {next(iter(self._planet.sites))}")
        site = self._planet.site(names[0])
        if verb == "kill":
            down = not any(child.running for child in site.children)
            site.kill()
            return {"did": f"{site.name} was down already"} if down else self._done(f"{site.name} was killed")
        if site.name in self._rebuilding:
            raise Conflict(f"{site.name} is being rebuilt: wait until that is done")
        if verb == "burn":
            burnt = not site.disks.exists()
            site.burn()
            return {"did": f"{site.name} was burnt already"} if burnt else self._done(f"{site.name} burnt down")
        restored: dict[str, Any] = {}
        how = "is back" if verb == "start" else "was rebuilt"
        if verb == "start":
            if all(child.running for child in site.children):
                return {"did": f"{site.name} runs already"}
            burnt = not site.disks.exists()
            if burnt:
                how = "is back, on empty disks: nothing was restored, all of it comes from the archive and the others"
            await site.start()
            await site.ready()
            if burnt:
                await self._planet.fed_again(site.name)
        else:
            self._rebuilding.add(site.name)
            try:
                restored = await self._planet.rebuild(site.name)
            finally:
                self._rebuilding.discard(site.name)
        return {**self._done(f"{site.name} {how}"), **restored}

    def _state(self, site: Site) -> str:
        if site.name in self._rebuilding:
            return "being rebuilt"
        if site.process.running:
            return "running"
        return "down" if site.disks.exists() else "burnt"

    def _done(self, what: str) -> dict[str, Any]:
        """Noted here, and told where it was asked for."""
        self._note(what)
        return {"did": what}


def _short(note: str) -> str:
    """What ended, and its very last words."""
    return note if len(note) <= NOTE_CHARS_MAX else f"{note[:40]} … {note[-(NOTE_CHARS_MAX - 43) :]}"

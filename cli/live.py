"""The demo with a person: three datacenters that stay up, a conversation that trickles on, and a picture of it all."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import Any

from cli.cast import Cast
from cli.control import ControlServer
from cli.conversation import Conversation, user_id
from cli.narrator import OWNER, Narrator
from cli.planet import Planet, Site
from cli.screen import DcLine, Screen
from core.errors import Invalid, PlanBError
from planb_sdk import PlanBError as SdkError

REFRESH_S = 1.0
REVIVE_S = 1.0
SNAPSHOT_S = 60.0
TRICKLE_S = 0.5
"""Between two small pieces of the conversations."""
TRICKLE_STEPS = 3
NOTES_KEPT = 6
NOTE_CHARS_MAX = 150


class Live:
    """One running demo."""

    def __init__(self, planet: Planet, conversations: Iterable[Conversation]) -> None:
        self._planet = planet
        self._cast = Cast(planet.regions, planet.sys_key, watched=False)
        self._narrator = Narrator(self._cast, conversations)
        self._notes: deque[str] = deque(maxlen=NOTES_KEPT)
        self._stop = asyncio.Event()
        self._screen = Screen(sys.stdout)
        self._began_s = monotonic()

    async def run(self) -> None:
        """Until Ctrl-C."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        control = ControlServer({"link": self._link, "dc": self._dc})
        await self._cast.open()
        try:
            self._screen.say("making users and chats …")
            await self._narrator.prepare()
            self._screen.introduce(await self._introduction())
            await control.start()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in (self._talk(), self._revive(), self._snap(), self._draw())]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._screen.leave()
            await control.stop()
            await self._cast.close()

    # -- what a person is told

    async def _introduction(self) -> list[str]:
        names = list(self._planet.sites)
        nick = next((nick for tale in self._narrator.tales for nick in tale.conversation.nicks), OWNER)
        token = self._cast.token(nick)
        chat = next((tale.peer for tale in self._narrator.tales if tale.peer), "")
        first, last = (self._planet.site(name).url for name in (names[0], names[-1]))
        body = shlex.quote(json.dumps({"to": chat or user_id(nick), "text": f"hello from {names[0]}"}))
        return [
            f"You are {user_id(nick)}. In another terminal of this folder:",
            "",
            f"  export AUTH='Authorization: Bearer {token}'",
            f'  curl -H "$AUTH" {first}/v1/me',
            f'  curl -H "$AUTH" {first}/v1/messages \\',
            f"       -H 'Content-Type: application/json' -d {body}",
            f"  # the same, read in {names[-1]}:",
            f"  curl -H \"$AUTH\" '{last}/v1/dialogs/{chat}/messages?limit=3'",
            f'  curl -H "$AUTH" {first}/v1/dialogs',
            f'  curl -H "$AUTH" -X POST {last}/v1/updates',
            f"  curl {first}/openapi.json   # as a page: {first}/docs",
            "",
            f"  .venv/bin/planb link --demo {os.getpid()} cut {names[0]} {names[-1]}   # and: heal, list",
            f"  .venv/bin/planb dc --demo {os.getpid()} kill {names[-1]}   # then: rebuild {names[-1]}",
            "",
        ]

    async def _draw(self) -> None:
        while True:
            lines = await asyncio.gather(*(self._line(site) for site in self._planet.sites.values()))
            links = {pair: link.cut_now for pair, link in self._planet.links.items() if pair[0] < pair[1]}
            self._screen.draw(lines, links, list(self._notes), monotonic() - self._began_s)
            await asyncio.sleep(REFRESH_S)  # a period, not a condition

    async def _line(self, site: Site) -> DcLine:
        if not site.process.running:
            return DcLine(site.name, site.url, "down" if site.disks.exists() else "burnt")
        try:
            async with self._cast.sys(site.name) as sys_client:
                status = await sys_client.call("GET", "/sys/v1/status")
                digest = (await sys_client.call("GET", "/sys/v1/digest"))["digest"]["total"]
        except PlanBError:
            return DcLine(site.name, site.url, "starting")
        lags = status["lag_ms"].values()
        return DcLine(
            site.name,
            site.url,
            "serving",
            events=sum(status["applied"].values()),
            behind=sum(status["replication"]["behind"].values()),
            lag_p50_ms=max((lag["p50_ms"] for lag in lags), default=0),
            lag_p99_ms=max((lag["p99_ms"] for lag in lags), default=0),
            digest=digest,
            lane=", ".join(status["lanes"]),
        )

    # -- what goes on

    async def _talk(self) -> None:
        """Tells the conversations slowly; when they end, it is quiet. A bad day is noted and the talk goes on."""
        total = max(len(tale.conversation.steps) for tale in self._narrator.tales)
        step = 0
        while step < total:
            step += TRICKLE_STEPS
            try:
                await self._narrator.tell(step / total)
            except (PlanBError, SdkError) as error:
                self._notes.append(f"a client says: {error}")
            await asyncio.sleep(TRICKLE_S)  # a period, not a condition

    async def _revive(self) -> None:
        """What ends by itself is named and started again, as a supervisor would."""
        while True:
            for site in self._planet.sites.values():
                self._notes.extend(_short(note) for note in await site.revive())
            await asyncio.sleep(REVIVE_S)  # a period, not a condition

    async def _snap(self) -> None:
        while True:
            for site in self._planet.sites.values():
                if site.process.running:
                    try:
                        done = await site.snapshot()
                        self._notes.append(f"snapshot {done['id']}: {done['rows']} rows")
                    except PlanBError as error:
                        self._notes.append(f"no snapshot of {site.name}: {error.detail[:150]}")
            await asyncio.sleep(SNAPSHOT_S)  # a period, not a condition

    # -- verbs of other terminals

    async def _link(self, words: list[str]) -> dict[str, Any]:
        verb, *names = words
        if verb != "list":
            if len(names) != 2:
                raise Invalid(f"name two datacenters: planb link {verb} {' '.join(list(self._planet.sites)[:2])}")
            for part in (self._planet, self._cast):
                (part.cut if verb == "cut" else part.heal)(*names)
            self._notes.append(f"link {names[0]} – {names[1]} {'is cut' if verb == 'cut' else 'is healed'}")
        return {f"{a} → {b}": "cut" if link.cut_now else "ok" for (a, b), link in self._planet.links.items()}

    async def _dc(self, words: list[str]) -> dict[str, Any]:
        verb, *names = words
        if verb == "list":
            return {name: "running" if site.process.running else "down" for name, site in self._planet.sites.items()}
        if len(names) != 1:
            raise Invalid(f"name one datacenter: planb dc {verb} {next(iter(self._planet.sites))}")
        site = self._planet.site(names[0])
        answer: dict[str, Any] = {"dc": site.name}
        if verb in ("kill", "burn"):
            site.kill()
            if verb == "burn":
                site.burn()
        elif verb == "start":
            await site.start()
            await site.ready()
        else:
            answer |= await self._planet.rebuild(site.name)
        self._notes.append({"kill": f"{site.name} was killed", "burn": f"{site.name} burnt down"}.get(
            verb, f"{site.name} is back"))  # fmt: skip
        return answer


def _short(note: str) -> str:
    """What ended, and its very last words."""
    return note if len(note) <= NOTE_CHARS_MAX else f"{note[:40]} … {note[-(NOTE_CHARS_MAX - 43) :]}"


async def run(planet: Planet, conversations: Iterable[Conversation]) -> None:
    """The demo with a person, until Ctrl-C."""
    with contextlib.suppress(asyncio.CancelledError):
        await Live(planet, conversations).run()

"""Three datacenters as real processes, clients that write down all they do, and one fault after the other.

PLANB_SEED chooses another order, PLANB_FAULTS how many."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from cli.planet import Planet
from cli.waiting import until
from tests.faults.breaking import Breaking, with_one_way_links
from tests.faults.checker import violations
from tests.faults.clients import Recorder, at_work, whole
from tests.faults.history import OK, History
from tests.support.bad_days import RECOVER_S_MAX, check_log, digests, request, user
from tests.support.processes import all_ready, running, supervise

SEED = os.environ.get("PLANB_SEED", "1")
FAULTS = int(os.environ.get("PLANB_FAULTS", "30"))
NAMES = ("fra", "iad", "nrt")
PEOPLE = 6
FAULT_S_MAX = 15
"""One fault with its pause, and the recovery that the next one meets."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 + FAULT_S_MAX * FAULTS)]


@contextmanager
def supervised(planet: Planet) -> Iterator[None]:
    """What ends is started again, as a supervisor would; that this goes on is part of the test."""
    with running(supervise(planet)) as task:
        yield
        if task.done():
            task.result()


async def supergroup(url: str, token: str, users: list[str]) -> str:
    fields = {"kind": "supergroup", "title": "All of us", "users": users}
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{url}/v1/chats", json=fields, headers=headers) as answer,
    ):
        return str((await answer.json())["chat"])


async def all_know(chat: str, tokens: dict[str, str], urls: dict[str, str]) -> bool:
    """Every member may read it in every datacenter."""
    path = f"/v1/dialogs/{chat}/messages"
    async with aiohttp.ClientSession() as session:
        told = [await request(session, "GET", url + path, token) for url in urls.values() for token in tokens.values()]
    return all(one.acknowledged for one in told)


async def test_what_clients_were_promised_holds_whatever_fails(tmp_path: Path) -> None:
    planet = with_one_way_links(Planet(tmp_path, NAMES))
    history = History([], [], [], {})
    breaking = Breaking(planet, SEED)
    urls = {name: site.url for name, site in planet.sites.items()}
    try:
        await planet.start()
        names = [f"Uperson-{number}" for number in range(PEOPLE)]
        tokens = {name: await user(planet, name) for name in names}
        chat = await supergroup(urls["fra"], tokens[names[0]], names[1:])
        assert await until(lambda: all_know(chat, tokens, urls), RECOVER_S_MAX)
        recorders = [Recorder(name, tokens[name], urls, chat, f"{SEED} {name}", history) for name in names]
        with supervised(planet):
            async with at_work(recorders):
                print([await breaking.next() for _ in range(FAULTS)])
            assert await until(lambda: all_ready(planet), RECOVER_S_MAX)
            await asyncio.gather(*(recorder.settle() for recorder in recorders))
        assert len(await digests(planet)) == 1
        for name, url in urls.items():
            history.final[name] = await whole(url, tokens[names[0]], chat)
        acknowledged = sum(write.outcome == OK for write in history.writes)
        print(
            f"{acknowledged} of {len(history.writes)} writes acknowledged, {len(history.reads)} reads; {breaking.fired}"
        )
        assert violations(history) == []
        assert acknowledged and history.reads and history.recalls
        assert len(breaking.kinds) > FAULTS or len(breaking.fired) == len(breaking.kinds), "a kind never fired"
        for site in planet.sites.values():
            await check_log(site)
    finally:
        await planet.stop()

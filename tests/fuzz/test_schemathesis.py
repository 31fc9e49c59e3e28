"""Requests that schemathesis makes of the API's own description, right ones and wrong ones, to a live datacenter."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cli.planet import Planet
from tests.support.bad_days import request, user
from tests.support.routes import DOCUMENT

EXAMPLES = int(os.environ.get("PLANB_FUZZ_EXAMPLES", "4"))
"""Of each operation, of each kind."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
]
APART = {"stream", "login"}
"""An upgrade is no answer (tests/fuzz/streams.py); wrong passwords are answered slowly, and soon by 429."""


class World(NamedTuple):
    url: str
    headers: dict[str, str]
    """Of somebody with a token."""
    things: dict[str, str]
    """Name of a path parameter -> one that exists."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    planet = Planet(tmp_path, ("fra",))
    try:
        await planet.start()
        url = planet.site("fra").url
        tokens = {name: await user(planet, name) for name in ("Uada", "Ugrace")}
        async with aiohttp.ClientSession() as http:
            fields = {"kind": "supergroup", "title": "All", "users": ["Ugrace"]}
            chat = (await request(http, "POST", f"{url}/v1/chats", tokens["Uada"], fields)).body["chat"]
            fields = {"to": chat, "text": "Hello"}
            sent = (await request(http, "POST", f"{url}/v1/messages", tokens["Uada"], fields)).body["id"]
        things = {"chat": chat, "peer": chat, "message": sent, "user": "Ugrace", "emoji": "ok"}
        yield World(url, {"Authorization": f"Bearer {tokens['Uada']}"}, things)
    finally:
        await planet.stop()


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    found = [result.ok() for result in schema.get_all_operations()]
    return [one for one in found if one.definition.raw["operationId"] not in APART]


def run(world: World) -> Counter[int]:
    """Every operation; the statuses that came."""
    statuses: Counter[int] = Counter()

    def judge(case: Any, existing: bool, known: bool) -> None:
        if existing:
            case.path_parameters = {
                **(case.path_parameters or {}),
                **{name: world.things[name] for name in case.path_parameters or {} if name in world.things},
            }
        response = case.call(base_url=world.url, headers=world.headers if known else None, timeout=30)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    for operation in operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seeded(1)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            @given(
                case=operation.as_strategy(generation_mode=mode),
                existing=st.sampled_from([True, True, False]),
                known=st.sampled_from([True, True, True, False]),
            )
            def ask(case: Any, existing: bool, known: bool) -> None:
                judge(case, existing, known)

            # A call without any field or parameter can't be made wrong.
            with contextlib.suppress(*([Unsatisfiable] if mode is GenerationMode.NEGATIVE else [])):
                ask()
    return statuses


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_what_schemathesis_makes_of_the_description_is_answered_as_that_says(world: World) -> None:
    statuses = await asyncio.to_thread(run, world)
    assert {200, 400, 404} <= statuses.keys()

"""Shapes of HTTP that one reader takes for one request and another for two: here nothing inside a body is ever one."""

import contextlib

import pytest

from tests.fuzz import odd
from tests.fuzz.pipes import Lost, Pipe
from tests.integration.test_hostile_connections import public

SHAPES = range(len(odd.shapes(b"", b"")))


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_nothing_inside_a_body_is_taken_for_a_request(shape: int, at_once: bool) -> None:
    async with public() as place:
        ada = place.dc.user("Uada")  # type: ignore[union-attr]
        data = odd.shapes(ada.token.encode(), b"Ugrace")[shape]
        pipe = await Pipe.open(place.port)
        head = data.find(b"\r\n\r\n") + 4
        pipe.send(data if at_once else data[:head])
        with contextlib.suppress(Lost, TimeoutError):
            await pipe.answers(1, timeout_s=0.1)
        pipe.send(b"" if at_once else data[head:])
        with contextlib.suppress(Lost, TimeoutError):
            await pipe.answers(2, timeout_s=0.2)
        pipe.close()
        history = await ada.get("/v1/dialogs/Ugrace/messages")
        assert odd.SMUGGLED not in str(history.body), data

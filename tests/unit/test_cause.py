"""What people are told of an error of a library or of the system."""

import socket
from pathlib import Path

import aiohttp
import pytest

from core.cause import cause_of
from core.errors import PlanBError
from events.adapters.valkey_wire import NotSent, Wire
from replicator.link import HttpLink

NOBODY = "127.0.0.1:9"
"""Nobody listens there."""


async def of_a_connection(url: str) -> Exception:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError) as caught:
            await session.get(url)
    return caught.value


async def test_what_a_connection_met_is_said_as_the_system_says_it() -> None:
    assert cause_of(await of_a_connection(f"http://{NOBODY}/")) == "Connection refused"


def test_what_the_system_and_others_raise_is_said_in_a_few_words() -> None:
    assert cause_of(TimeoutError()) == "no answer in time"
    assert cause_of(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert cause_of(ConnectionResetError()) == "ConnectionResetError"
    with pytest.raises(OSError) as caught:
        Path("/nowhere/at/all").read_bytes()
    assert cause_of(caught.value) == "No such file or directory"
    assert cause_of(ValueError("odd")) == "ValueError: odd"


class Unsigned:
    def sign(self, *_: object) -> dict[str, str]:
        return {}

    def check_answer(self, *_: object) -> None:
        raise AssertionError("nobody answered")


async def test_no_error_of_ours_shows_what_a_library_calls_a_failed_connection() -> None:
    said: list[BaseException] = []
    async with aiohttp.ClientSession() as session:
        with pytest.raises(PlanBError) as link:
            await HttpLink(session, "iad", f"http://{NOBODY}", Unsigned()).tops()
        said.append(link.value)
    wire = Wire(f"redis://{NOBODY}/0", connections_max=1, connect_s=2.0, answer_s=2.0)
    with pytest.raises(NotSent) as log:
        await wire.ask(("PING",))
    said.append(log.value)
    await wire.close()
    for error in said:
        assert "Connection refused" in str(error)
        assert not any(word in str(error) for word in ("Error", "Errno", "ConnectionKey")), error

"""What the driver's callbacks mean: a broker does not drop a message at will."""

from types import SimpleNamespace
from typing import Any, cast

import pulsar
import pytest

from events.adapters.pulsar_places import Place
from events.adapters.pulsar_wire import Producer, Wire


class Answering:
    """A driver's producer that answers at once."""

    def __init__(self, result: pulsar.Result, ledger: int, entry: int) -> None:
        self._result = result
        self._id = SimpleNamespace(ledger_id=lambda: ledger, entry_id=lambda: entry)

    def send_async(self, _: bytes, answered: Any) -> None:
        answered(self._result, self._id)


@pytest.mark.parametrize(
    ("result", "ledger", "place"),
    [
        (pulsar.Result.Ok, 3, Place(3, 7)),
        (pulsar.Result.Ok, 0, Place(0, 7)),
        (pulsar.Result.Ok, -1, None),
        (pulsar.Result.ProducerFenced, -1, None),
        (pulsar.Result.Timeout, 3, None),
    ],
)
async def test_only_a_place_says_that_a_message_stands(result: pulsar.Result, ledger: int, place: Place | None) -> None:
    producer = Producer(cast("Wire", None), Answering(result, ledger, 7))
    sent = await producer.send(b"message")
    assert sent.place == place
    assert place or sent.why


async def test_a_send_that_the_driver_refuses_is_answered() -> None:
    def refuse(*_: Any) -> None:
        raise pulsar.AlreadyClosed

    producer = Producer(cast("Wire", None), SimpleNamespace(send_async=refuse))
    assert (await producer.send(b"message")).place is None

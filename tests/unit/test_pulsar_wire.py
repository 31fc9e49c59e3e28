"""What the driver's callbacks mean: a broker does not drop a message at will."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pulsar
import pytest

from events.adapters.pulsar_parts import Producer, Scan
from events.adapters.pulsar_places import Place


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
    producer = Producer(Answering(result, ledger, 7))
    sent = await producer.send(b"message")
    assert sent.place == place
    assert place or sent.why


async def test_a_send_that_the_driver_refuses_is_answered() -> None:
    def refuse(*_: Any) -> None:
        raise pulsar.AlreadyClosed

    producer = Producer(SimpleNamespace(send_async=refuse))
    assert (await producer.send(b"message")).place is None


class Slow:
    """A driver's reader that is asked until it is let go, and says if it is closed meanwhile."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.closed_under = False
        self.closes = 0

    def has_message_available(self) -> bool:
        self.asked.set()
        self.go.wait(10)
        self.closed_under = self.closes > 0
        return False

    def close(self) -> None:
        self.closes += 1


def test_a_scan_that_is_left_in_the_midst_of_a_call_is_closed_behind_it() -> None:
    reader = Slow()
    scan = Scan(reader, 1)
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(scan.more)
        assert reader.asked.wait(10)
        left = threads.submit(scan.leave)
        reader.go.set()
        assert asked.result(10) is False
        assert left.result(10)
    assert (reader.closes, reader.closed_under) == (1, False)
    with pytest.raises(pulsar.AlreadyClosed):
        scan.more()

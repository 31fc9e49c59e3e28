"""The lines of a chunk: docs/snapshots.md."""

import json

from core.messages import Row
from snapshot.chunks import Cutter
from stores.ports import Result


def test_message_rows_and_results_are_arrays_in_the_order_of_their_members() -> None:
    cutter = Cutter()
    row = Row(5, "D1", 4, "edit", "Ua", 0, {"text": "x"})
    result = Result("Ua", "k", 5, "message.send", b"12345678", {"id": "5"})
    done = [*cutter.feed([row, result]), *cutter.finish()]
    lines = [json.loads(line) for _, raw in done for line in raw.splitlines()]
    assert lines == [
        [5, "D1", 4, "edit", "Ua", 0, {"text": "x"}],
        ["Ua", "k", 5, "message.send", "MTIzNDU2Nzg=", {"id": "5"}],
    ]

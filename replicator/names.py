"""Lanes and DCs by the names that people read: lane 2051 of DC 1 = "fra/0.3" (DC name / incarnation . worker)."""

import re
from collections.abc import Mapping
from typing import TypeVar

from core import limits
from core.errors import Invalid
from core.ids import Lane

V = TypeVar("V")
_LANE = re.compile(r"([A-Za-z0-9_-]{1,63})/([0-9]{1,2})\.([0-9]{1,3})")


class DcNames:
    """The DC map's names and numbers, both ways."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = dict(numbers)
        self._names = {number: name for name, number in numbers.items()}

    def names(self) -> list[str]:
        return list(self._numbers)

    def number(self, name: str) -> int:
        """Invalid for a DC that is not in the map."""
        if name not in self._numbers:
            raise Invalid(f"no DC is called {name[:64]!r}")
        return self._numbers[name]

    def name(self, number: int) -> str:
        """The name, or `dc<number>` for one that is not in the map."""
        return self._names.get(number, f"dc{number}")

    def lane(self, lane: int) -> str:
        """`fra/1.3`."""
        dc, incarnation, worker = Lane.of(lane)
        return f"{self.name(dc)}/{incarnation}.{worker}"

    def lane_number(self, text: str) -> int:
        """The lane of `fra/1.3`. Invalid for anything else."""
        match = _LANE.fullmatch(text)
        if match is None:
            raise Invalid(f"a lane is written fra/1.3, not {text[:64]!r}")
        incarnation, worker = int(match[2]), int(match[3])
        if incarnation > limits.INCARNATION_MAX or worker > limits.WORKER_MAX:
            raise Invalid(f"there is no lane {text!r}")
        return Lane(self.number(match[1]), incarnation, worker).number

    def lanes(self, values: Mapping[int, V]) -> dict[str, V]:
        """A mapping by lane number as one by lane name, in the order of the numbers."""
        return {self.lane(lane): values[lane] for lane in sorted(values)}

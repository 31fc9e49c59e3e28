"""The figures of many histories, as JSON: nothing in them is written by hand. `make prove` makes a page of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Caught(NamedTuple):
    """How a planted bug fared."""

    bug: str
    seeds: int
    """Histories that it took."""
    budget: int
    by: str
    """The invariant that broke; "" if none did."""
    why: str = ""
    """Why it was not caught."""
    took_s: float = 0.0
    """CPU."""


class Told(NamedTuple):
    """What a worker tells of a history."""

    seed: str
    violation: str
    trace: str
    simulated_s: float
    steps: int
    took_s: float
    counts: dict[str, int]
    places: dict[str, int]


class Run:
    """Histories without a planted bug."""

    def __init__(self, first: int, seeds: int, also: str = "") -> None:
        self._seeds = {"first": first, "last": first + seeds - 1, "also": list(filter(None, also.split(",")))}
        self.histories = 0
        self.simulated_s = 0.0
        self.took_s = 0.0
        self.steps = 0
        self.failed: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self._fired_in: Counter[str] = Counter()
        self._wanted: dict[str, Sequence[str]] = {}

    def add(self, told: Told) -> None:
        """One more history."""
        self.histories += 1
        self.simulated_s += told.simulated_s
        self.took_s += told.took_s
        self.steps += told.steps
        self.counts.update(told.counts)
        self.places.update(told.places)
        self._fired_in.update(name for name in told.counts if name.startswith("fault: "))
        if told.violation:
            self.failed[told.seed] = told.violation

    def cover(self, faults: Sequence[str], actions: Sequence[str], points: Sequence[str]) -> None:
        """What should have come in these histories."""
        self._wanted = {"fault": faults, "action": actions, "crashed at": points}

    @property
    def never(self) -> list[str]:
        """What did not."""
        return [
            f"{group}: {name}"
            for group, names in self._wanted.items()
            for name in names
            if not self.counts[f"{group}: {name}"]
        ]

    def _group(self, group: str) -> dict[str, int]:
        begin = f"{group}: "
        wanted = dict.fromkeys(self._wanted.get(group, ()), 0)
        return wanted | {name[len(begin) :]: n for name, n in sorted(self.counts.items()) if name.startswith(begin)}

    def told(self) -> dict[str, Any]:
        """What can be added up with other runs' figures."""
        return {
            "histories": self.histories,
            "simulated_s": self.simulated_s,
            "cpu_s": self.took_s,
            "steps": self.steps,
            "failed": self.failed,
            "counts": dict(sorted(self.counts.items())),
            "histories_with": dict(sorted(self._fired_in.items())),
            "crash_places": dict(sorted(self.places.items())),
            "silent": self.never,
        }

    def shown(self, pending: Mapping[str, str]) -> dict[str, Any]:
        """As JSON (docs/simulation.md)."""
        share = {name: self._fired_in[f"fault: {name}"] / max(self.histories, 1) for name in self._group("fault")}
        return {
            "seeds": self._seeds,
            "histories": self.histories,
            "simulated_s": round(self.simulated_s),
            "cpu_s": round(self.took_s, 1),
            "steps": self.steps,
            "failed": self.failed,
            "faults": {
                name: {"times": n, "share_of_histories": round(share[name], 4)}
                for name, n in self._group("fault").items()
            },
            "crashes": self.counts["crashes"],
            "crash_points": self._group("crashed at"),
            "crash_places": dict(sorted(self.places.items())),
            "actions": self._group("action"),
            "acts": self._group("act"),
            "refused": self._group("refused"),
            "wire": self._group("wire"),
            "stores": self._group("store"),
            "others": {name: n for name, n in sorted(self.counts.items()) if ": " not in name},
            "never": self.never,
            "pending": dict(pending),
        }

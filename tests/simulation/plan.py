"""What a seed stands for: how many datacenters and people, how bad the weather, which faults, which bounds.

Swarm testing: each history leaves most kinds of trouble out, so that what is left meets undisturbed. After Groce et
al., "Swarm testing" (ISSTA 2012).
"""

from dataclasses import dataclass, field, replace
from random import Random

from tests.simulation.network import FAIR, Weather

KINDS = (
    "cut",
    "one-way cut",
    "isolation",
    "long partition",
    "client cut",
    "crash",
    "crash at a step",
    "power failure",
    "restart",
    "freeze",
    "zombie",
    "hot store lost",
    "store errors",
    "slow stores",
    "object store down",
    "deaf brokers",
    "clock skew",
    "clock jump",
    "burnt datacenter",
    "torn log",
    "snapshot",
    "app killed",
    "upgrade",
    "poison event",
    "parked retried",
    "parked dropped",
    "crash in a store call",
    "datacenter added",
    "long one-way cut",
)

PENDING = {
    "datacenter removed": "there is no `dc remove` yet",
    "two workers of one datacenter": "a datacenter is one process (docs/decisions/0002)",
    "gossip": "datacenters pull from each other (docs/decisions/0004)",
    "cron": "there is none yet",
}
"""What the histories do not hold, and why."""


@dataclass(frozen=True)
class Plan:
    """Everything that is drawn before the first event; what happens then is drawn as it happens."""

    seed: str
    dcs: int = 3
    users: int = 3
    acts: int = 60
    lasts_s: float = 60.0
    kinds: tuple[str, ...] = ()
    faults: int = 6
    weather: Weather = FAIR
    skew_ms: int = 0
    perturbed: float = 0.2
    versions: bool = False
    """Do datacenters begin with two versions?"""
    bounds: dict[str, int] = field(default_factory=dict)
    """core.limits that differ."""
    updates_kept: int = 10_000
    restless: float = 0.0
    """Further share of acts that are changes of region."""
    without_acts: frozenset[int] = frozenset()
    without_faults: frozenset[int] = frozenset()
    """Left out, by number: how a failing history is made smaller."""

    def smaller(self, **changes: object) -> "Plan":
        return replace(self, **changes)  # type: ignore[arg-type]


BOUNDS: dict[str, tuple[int, ...]] = {
    "PULL_RECORDS_MAX": (5, 50),
    "LANE_BATCH_MAX": (1, 3, 10),
    "REPLAY_RECORDS_MAX": (10, 50),
    "PAGE_MAX": (3, 10),
    "SCAN_ENTRIES_MAX": (5, 20),
    "INBOX_RECORDS_MAX": (10, 40),
    "VIEW_CACHE_MAX": (5, 50),
    "RESUME_UPDATES_MAX": (2, 20),
    "CHUNK_ROWS_MAX": (3, 20),
    "REFEED_RECORDS_MAX": (5, 30),
    "PULL_WAIT_MS_MAX": (500,),
}


TRIMMED = {"LOG_KEPT_RECORDS_MAX": 5, "TRIM_RECORDS_MIN": 1}
"""Wherever REFEED_RECORDS_MAX is small, the log is trimmed, too."""


def plan_of(seed: str, kinds: tuple[str, ...] = ()) -> Plan:
    """The plan of a seed. `kinds`: only these faults (a generator directed at something)."""
    random = Random(f"{seed} plan")
    dcs = random.choices((2, 3, 4, 5), (30, 50, 14, 6))[0]
    chosen = kinds or tuple(sorted(random.sample(KINDS, random.randint(2, 7))))
    rough = random.random() < 0.6
    weather = Weather(
        loss=random.choice((0, 0.01, 0.05)),
        doubled=random.choice((0, 0.02, 0.1)),
        reset=random.choice((0, 0.01, 0.05)),
        slow=random.choice((0, 0.02, 0.1)),
    )
    names = random.sample(sorted(BOUNDS), random.randint(0, 3)) if random.random() < 0.5 else []
    return Plan(
        seed=seed,
        dcs=dcs,
        users=random.randint(2, 5),
        acts=random.randint(20, 80),
        lasts_s=random.choice((10.0, 30.0, 60.0, 120.0)),
        kinds=chosen,
        faults=random.randint(2, 10),
        weather=weather if rough else FAIR,
        skew_ms=random.choice((0, 50, 200)),
        perturbed=random.choice((0.0, 0.2, 0.5)),
        versions=not {"upgrade", "poison event"}.isdisjoint(chosen),
        bounds=TRIMMED | {name: random.choice(BOUNDS[name]) for name in names},
        updates_kept=random.choice((10_000, 10_000, 10_000, 30)),
    )

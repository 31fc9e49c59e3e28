"""What is wrong with a datacenter, in sentences, from what it says of itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from cli.units import size
from core.limits import DISK_FREE_BYTES_MIN, PULL_SLACK_MS, PULL_WAIT_MS_MAX

CLOCK_ERROR_MS_NOTED = 100
"""As in docs/operations.md, “What to watch”."""
SAID_BELOW = ("lease", "log", "stores", "clock")
"""Checks of readiness that have sentences of their own here."""
BEHIND_MIN = 1_000
"""So many records that wait to be applied are worth a word; fewer are the moment's."""


def problems(status: Mapping[str, Any], config: str) -> list[str]:
    """The worst first; [] when all is well. `config`: the settings file that commands are to be given."""
    return [
        *_lease(status),
        *_missing(status),
        *_clock(status),
        *_stores(status),
        *_disks(status),
        *_replication(status),
        *_links(status),
        *_parked(status, config),
    ]


def _lease(status: Mapping[str, Any]) -> Iterator[str]:
    found = status["coordination"]
    if found.get("refuses"):
        yield f"writes are refused: {found['refuses']}"
    elif found.get("trouble"):
        yield f"the lease can't be renewed now ({found['kind']}): {found['trouble']}"


def _missing(status: Mapping[str, Any]) -> Iterator[str]:
    for name, problem in status["missing"].items():
        if name not in SAID_BELOW:
            yield f"clients may not come here ({name}): {problem}"


def _clock(status: Mapping[str, Any]) -> Iterator[str]:
    clock = status["clock"]
    error_ms = clock["error_ms"]
    if clock["refuses"]:
        yield f"writes are refused: {clock['refuses']}"
    elif error_ms is not None and abs(error_ms) > CLOCK_ERROR_MS_NOTED:
        yield f"this machine's clock is {abs(error_ms):,} ms {'ahead of' if error_ms > 0 else 'behind'} the others'"
    for lane, count in clock["far_ahead"].items():
        yield f"{count:,} events of {lane} were stamped too far ahead: the clock there is wrong, or was"


def _stores(status: Mapping[str, Any]) -> Iterator[str]:
    for name, state in status["stores"].items():
        if state not in ("ok", "off"):
            yield f"{name}: {state}"


def _disks(status: Mapping[str, Any]) -> Iterator[str]:
    for name, disk in status["disks"].items():
        if disk["error"]:
            yield f"{name} {disk['folder']}: {disk['error']}"
        elif disk["free_bytes"] < DISK_FREE_BYTES_MIN:
            yield f"{name} {disk['folder']} is nearly full: {size(disk['free_bytes'])} left of {size(disk['bytes'])}"


def _replication(status: Mapping[str, Any]) -> Iterator[str]:
    found = status["replication"]
    for lane in found["forked"]:
        yield f"lane {lane} is forked: two processes wrote as one datacenter. It stands still here; keep both logs"
    for lane, blocked in found["blocked"].items():
        yield f"replay of {lane} is blocked after {blocked['after']}: {blocked['reason']} ({blocked['tries']} tries)"
    for lane in found["holes"]:
        yield f"records of {lane} are missing here and are fetched from the others"
    if found["repair_error"]:
        yield f"fetching missing records fails: {found['repair_error']}"
    behind = sum(found["behind"].values())
    if behind >= BEHIND_MIN:
        yield f"{behind:,} records of others wait to be applied"


def _links(status: Mapping[str, Any]) -> Iterator[str]:
    for name, peer in status["peers"].items():
        if peer["link"] == "ok":
            if peer["error"]:
                yield f"what {name} gives can't be stored: {peer['error']}"
            yield from _unheard(name, status["now_ms"] - max(peer["pulled_us_ms"], peer["since_ms"]))
            continue
        if peer["link"] == "new":
            yield f"{name} was not reached yet{': ' if peer['error'] else ''}{peer['error']}"
            continue
        for_s = (status["now_ms"] - peer["since_ms"]) / 1000 if peer["since_ms"] else 0
        since = f" for {for_s:,.0f} s" if for_s > 0 else ""  # a clock may have been set back
        reason = peer["error"] or peer["last_error"]
        is_so = "has failed" if peer["link"] == "failed" else f"is {peer['link']}"
        yield f"link to {name} {is_so}{since}{': ' if reason else ''}{reason}"


def _unheard(name: str, for_ms: int) -> Iterator[str]:
    """The link to it is well; the one from it may be cut all the same."""
    if for_ms > PULL_WAIT_MS_MAX + PULL_SLACK_MS:
        yield (
            f"{name} has not pulled from here for {for_ms / 1000:,.0f} s: what is written here reaches it by way of"
            " others, or not at all"
        )


def _parked(status: Mapping[str, Any], config: str) -> Iterator[str]:
    if status["parked"]:
        yield f"{status['parked']} events can't be applied by this version: planb parked list --config {config}"

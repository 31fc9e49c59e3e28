"""Planted bugs: the checker is checked. Each is a small change to the text of production code, made for one run and
undone after it; each has to be caught by an invariant within its budget of seeds.

A bug whose text is no longer there fails loudly: then production has changed, and the bug is planted anew.
"""

import contextlib
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from tests.simulation.plan import Plan, plan_of


@dataclass(frozen=True)
class Bug:
    """`edits`: (module:function, text, text instead of it). `kinds` and `changes` direct the generator at it."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    kinds: tuple[str, ...]
    seeds: int = 20
    """How many histories it may take to be found."""
    changes: dict[str, Any] = field(default_factory=dict)

    def plan(self, seed: str) -> Plan:
        return plan_of(seed, self.kinds).smaller(**self.changes)


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Production with this bug in it."""
    before: list[tuple[FunctionType, Any]] = []
    try:
        for where, old, new in bug.edits:
            function = _function(where)
            before.append((function, function.__code__))
            function.__code__ = _changed(function, old, new).__code__
        yield
    finally:
        for function, code in reversed(before):
            function.__code__ = code


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name) if inspect.isclass(found) else getattr(found, name)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), where
    return found


def _changed(function: FunctionType, old: str, new: str) -> FunctionType:
    source = textwrap.dedent(inspect.getsource(function))
    while source.startswith("@"):
        source = source.partition("\n")[2]
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times: {old}"
    found: dict[str, Any] = {}
    exec(
        compile(source.replace(old, new), f"<planted in {function.__qualname__}>", "exec"), function.__globals__, found
    )
    changed: FunctionType = found[function.__name__]
    return changed


CRASHES = ("crash", "crash at a step")
RESTLESS: dict[str, Any] = {"restless": 0.2, "acts": 80, "lasts_s": 60.0}

BUGS = (
    Bug(
        "apply before append",
        (
            (
                "events.lane_writer:LaneWriter._append",
                "await self._log.append(self.lane, self._owner, batch.records)",
                "await self._apply(batch.entries); await self._log.append(self.lane, self._owner, batch.records)",
            ),
        ),
        (*CRASHES, "store errors"),
    ),
    Bug(
        "answer before append",
        (
            (
                "events.lane_writer:LaneWriter._write_all",
                "self._queue.drop(groups)",
                "self._queue.drop(groups); self._sending.answer()",
            ),
        ),
        (*CRASHES, "store errors"),
    ),
    Bug(
        "frontier before effects",
        (
            (
                "stores.apply:Applier._write",
                "reached = {**self.progress.applied, **marks}",
                "reached = {**self.progress.applied, **marks};"
                " await self._relational.apply(RelationalBatch((), (), (), (), reached));"
                " self._messages.put((), reached)",
            ),
        ),
        CRASHES,
        40,
        {"faults": 12},
    ),
    Bug(
        "recovery from the greatest frontier",
        (
            (
                "stores.apply:Applier.start",
                "min(self._relational_at.get(lane, NOWHERE), self._messages_at.get(lane, NOWHERE))",
                "max(self._relational_at.get(lane, NOWHERE), self._messages_at.get(lane, NOWHERE))",
            ),
        ),
        ("power failure", "crash at a step"),
        20,
        {"faults": 12},
    ),
    Bug(
        "no at-most-once guard for updates",
        (
            (
                "stores.hot_writer:HotWriter.write",
                "fresh = [item for item in planned if item.entry.seq > self._seq(item.entry.lane)]",
                "fresh = list(planned)",
            ),
        ),
        ("power failure", "crash at a step"),
        20,
        {"faults": 12},
    ),
    Bug(
        "V read after the updates",
        (
            (
                "api.queries.updates:Updates.updates",
                "old.v if undrained else v,",
                "old.v if undrained else self._standpoint.v(),",
            ),
        ),
        ("slow stores", "cut", "deaf brokers"),
        60,
        RESTLESS,
    ),
    Bug(
        "V merged element by element",
        (
            (
                "api.queries.updates:Updates.updates",
                "old.v if undrained else v,",
                "old.v if undrained else {n: max(v.get(n, 0), old.v.get(n, 0)) for n in v.keys() | old.v.keys()},",
            ),
        ),
        ("cut", "isolation"),
        20,
        RESTLESS,
    ),
    Bug(
        "pages take the present V",
        (("api.queries.updates:Updates.updates", "old.v if undrained else v,", "v,"),),
        ("cut", "isolation"),
        60,
        RESTLESS | {"bounds": {"PAGE_MAX": 3, "SCAN_ENTRIES_MAX": 5}},
    ),
    Bug(
        "the greatest id as cursor",
        (
            (
                "api.queries.updates:Updates._counts",
                "event > v.get(lane_of(event), 0)",
                "event > max(v.values(), default=0)",
            ),
        ),
        ("cut", "isolation"),
        20,
        RESTLESS,
    ),
    Bug(
        "a watermark per datacenter",
        (
            (
                "api.queries.updates:Updates._counts",
                "event > v.get(lane_of(event), 0)",
                "event > max((id for lane, id in v.items() if lane >> 11 == (event & 0xFFFF) >> 11), default=0)",
            ),
        ),
        ("burnt datacenter", "cut", "isolation"),
        150,
        RESTLESS | {"dcs": 3, "faults": 10},
    ),
    Bug(
        "pts carried over to another datacenter",
        (
            (
                "api.queries.updates:Updates._lists",
                "here = old.dc == self._standpoint.dc and old.epoch == epoch",
                "here = True",
            ),
        ),
        ("cut",),
        20,
        RESTLESS,
    ),
    Bug(
        "positions outlive their epoch",
        (
            (
                "api.queries.updates:Updates._lists",
                "here = old.dc == self._standpoint.dc and old.epoch == epoch",
                "here = old.dc == self._standpoint.dc",
            ),
        ),
        ("hot store lost", "client cut"),
        60,
        {"acts": 80, "faults": 10, "bounds": {"REFEED_RECORDS_MAX": 5}},
    ),
    Bug(
        "trimmed updates are not told of",
        (
            ("api.queries.updates:Updates._check_trimmed", "raise _Trimmed", "pass"),
            ("api.queries.updates:Updates._check_gap", "raise _Trimmed", "pass"),
        ),
        ("client cut", "hot store lost"),
        60,
        {"acts": 80, "updates_kept": 5, "faults": 10},
    ),
    Bug(
        "a mark covers whatever is there",
        (
            (
                "stores.view:StoreView.seen",
                "return await self._hot.seen(owner, conversation, message, pts)",
                "return await self._hot.seen(owner, conversation, message, 10**9)",
            ),
        ),
        ("client cut", "deaf brokers", "slow stores"),
        60,
        {"acts": 80},
    ),
    Bug(
        "a scalar read mark",
        (
            (
                "stores.view:StoreView.seen",
                "return await self._hot.seen(owner, conversation, message, pts)",
                "return dict.fromkeys(position.v, message)",
            ),
        ),
        ("cut", "isolation"),
        60,
        {"acts": 80},
    ),
    Bug(
        "every local member is fed",
        (
            (
                "core.audience:owed",
                "unknown = any(add.id > audience.knew.get(add.id & 0xFFFF, 0) for add in membership.live_adds())",
                "unknown = membership.present",
            ),
        ),
        ("cut", "isolation"),
        150,
        {"acts": 80, "lasts_s": 30.0, "faults": 8},
    ),
    Bug(
        "hot state rebuilt in the same epoch",
        (
            (
                "stores.hot_writer:HotWriter._rebuild",
                "epoch = before + 1 if before else max(1, self._now_ms())",
                "epoch = before or max(1, self._now_ms())",
            ),
        ),
        ("hot store lost", "client cut"),
        20,
    ),
    Bug(
        "epochs begin at 1 on empty disks",
        (
            (
                "stores.hot_writer:HotWriter._rebuild",
                "epoch = before + 1 if before else max(1, self._now_ms())",
                "epoch = before + 1",
            ),
        ),
        ("burnt datacenter",),
        20,
    ),
    Bug(
        "an incarnation is opened again",
        (
            (
                "replicator.bootstrap:choose_incarnation",
                "return Choice(highest + 1, reason)",
                "return Choice(highest, reason)",
            ),
        ),
        ("burnt datacenter", "torn log"),
        20,
    ),
    Bug(
        "the greatest frontier as F0",
        (
            (
                "snapshot.dump:_Watch.smallest",
                "min(frontier[lane] for frontier in self._last.values())",
                "max(frontier[lane] for frontier in self._last.values())",
            ),
        ),
        ("snapshot", "slow stores"),
        80,
        {"faults": 12, "acts": 80},
    ),
    Bug(
        "serving before the end of the snapshot",
        (("cli.serving:Serving._restore", "if not missing:", "if True:"),),
        ("snapshot", "burnt datacenter"),
        60,
        {"faults": 10, "acts": 80},
    ),
    Bug(
        "a kick is undone by a later clock",
        (
            (
                "core.membership:Membership.live_adds",
                "all(add.knew.get(by, 0) >= kick for by, kick in self.kicked.items())",
                "add.id > max(self.kicked.values(), default=0)",
            ),
        ),
        ("cut", "isolation"),
        150,
        {"acts": 80, "lasts_s": 30.0, "faults": 8},
    ),
    Bug(
        "a leave takes what it never saw",
        (("core.actions.members:Leave.effects", '{"left": add}', '{"left": event.id}'),),
        ("cut", "isolation"),
        150,
        {"acts": 80, "lasts_s": 30.0, "faults": 8},
    ),
    Bug(
        "a recall loses to a later edit",
        (("core.messages:fold", "recalled = True", "recalled = edit is None or edit.event < row.event"),),
        ("cut", "isolation"),
        150,
        {"acts": 80, "lasts_s": 30.0, "faults": 8},
    ),
    Bug(
        "copies are not one message",
        (
            (
                "core.actions.messages:Send.effects",
                "class_ = ids.class_of(event.actor, event.key or str(event.id), args.conversation, event.fingerprint)",
                "class_ = ids.class_of(event.actor, str(event.id), args.conversation, event.fingerprint)",
            ),
        ),
        ("cut", "client cut"),
        40,
        RESTLESS,
    ),
    Bug(
        "the last to arrive wins",
        (
            (
                "core.tables:merge",
                "return max(old, new, key=lambda cell: (cell.stamp, canonical(cell.value)))",
                "return new",
            ),
        ),
        ("cut", "isolation"),
        40,
        {"acts": 80, "users": 2},
    ),
    Bug(
        "remote is said without waiting",
        (
            (
                "replicator.remote:RemoteDurability.wait",
                "return await self._board.held_elsewhere(lane, seq, timeout_s)",
                "return True",
            ),
        ),
        ("burnt datacenter", "cut", "isolation"),
        60,
        {"acts": 80, "lasts_s": 20.0},
    ),
    Bug(
        "the clock is deaf",
        (("core.clock:HybridClock.see", "self._tick = max(self._tick, tick)", "pass"),),
        ("clock skew",),
        40,
        RESTLESS | {"skew_ms": 200},
    ),
    Bug(
        "the clock forgets its lane",
        (("core.clock:HybridClock.resume", "self._tick = max(self._tick, ids.tick_of(id))", "pass"),),
        ("clock jump", "crash"),
        40,
        {"faults": 12},
    ),
    Bug(
        "V goes on over a parked event",
        (
            (
                "stores.progress:Progress.advance",
                "self._v[lane] = _contiguous(mark, self._parked.get(lane))",
                "self._v[lane] = mark.id",
            ),
            ("stores.progress:Progress.park", "self._settle(lane)", "pass"),
        ),
        ("upgrade",),
        40,
        {"acts": 80},
    ),
    Bug(
        "stale rows stay in the cache",
        (("stores.view:StoreView._forget", "self._cache.pop(key, None)", "pass"),),
        ("cut",),
        20,
    ),
    Bug(
        "sdk: the outbox believes every region",
        (("planb_sdk.writer:Writer.doubt", "self.outbox.generation += 1", "pass"),),
        ("burnt datacenter", "cut", "isolation"),
        80,
        {"acts": 80, "lasts_s": 30.0, "dcs": 2},
    ),
    Bug(
        "sdk: holes are passed over",
        (
            (
                "planb_sdk.follower:Follower._streamed",
                "elif known is not None and pts == known + 1:",
                "elif known is not None:",
            ),
        ),
        ("deaf brokers",),
        40,
        {"faults": 10, "acts": 80},
    ),
    Bug(
        "a history shows what is not his",
        (
            (
                "api.queries.visible:Reader.shows",
                "if not may_read(message, self.user, self.membership, self.kind):",
                "if False:",
            ),
        ),
        ("cut",),
        150,
        {"acts": 80, "lasts_s": 30.0},
    ),
)  # fmt: skip
BY_NAME = {bug.name: bug for bug in BUGS}

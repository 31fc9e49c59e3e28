"""Bugs planted where things are written: log, lanes, stores, clocks, snapshots, what an origin decides."""

from typing import Any

from tests.simulation.planted import Bug

CRASHES = ("crash", "crash at a step")
RESTLESS: dict[str, Any] = {"restless": 0.2, "acts": 80, "lasts_s": 60.0}

WRITING = (
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
                "reached = {**self.progress.applied, **marks}; await self._rows.move(reached)",
            ),
        ),
        ("crash at a step", "crash in a store call"),
        60,
        {"faults": 30, "acts": 80},
    ),
    Bug(
        "recovery from the greatest frontier",
        (
            (
                "stores.row_writer:RowWriter.open",
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
        60,
        {"faults": 12, "acts": 80},
    ),
    Bug(
        "an incarnation is opened again",
        (
            (
                "replicator.bootstrap:choose_incarnation",
                "return Choice(highest + 1, reason)",
                "return Choice(highest, reason)",
            ),
            # Else what object storage remembers of incarnations hides it.
            ("replicator.incarnations:Incarnations.claim", "if not await", "if None is await"),
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
        "a stale writer appends",
        (
            (
                "events.adapters.memory:MemoryLog.append",
                "if held is None or not owner or held.owner != owner:",
                "if held is None:",
            ),
        ),
        ("zombie", "restart"),
        40,
        {"faults": 12},
    ),
    Bug(
        "received counts as durable",
        (
            (
                "replicator.intake:Intake._write",
                "await self._log.store(proven)",
                "self.durable.update({r.lane: Top(r.seq, r.id, r.hash) for r in proven});"
                " await self._log.store(proven)",
            ),
        ),
        ("store errors", "slow stores", "crash"),
        40,
        {"faults": 12},
    ),
    Bug(
        "`>=` for losers",
        (
            (
                "stores.adapters.memory_hot:MemoryHot.decide",
                "self._state.stamps.get((table, key, column), stamp)",
                "self._state.stamps.get((table, key, column), 0)",
            ),
            ("stores.adapters.memory_hot:MemoryHot.decide", "lost.append(stamp < old)", "lost.append(stamp <= old)"),
            (
                "stores.row_writer:RowWriter._decide",
                "self.superseded_writes += sum(await self._hot.decide(wanted))",
                "lost = {c[3] for c, l in zip(wanted, await self._hot.decide(wanted), strict=True) if l};"
                " effects[:] = [one for one in effects if one.stamp not in lost]",
            ),
        ),
        ("crash at a step", "store errors", "power failure"),
        40,
        {"faults": 12},
    ),
    Bug(
        "the newest mark in place of the greatest",
        (("core.tables:merge", "return Cell(max(old.value, new.value), 0)", "return Cell(new.value, 0)"),),
        ("cut", "isolation"),
        40,
        {"acts": 80},
    ),
    Bug(
        "the end of a snapshot as the minimum",
        (
            (
                "snapshot.dump:_Watch.greatest",
                "return dict(sorted(self._greatest.items()))",
                "return {lane: min(f.get(lane, Mark(0, 0)) for f in self._last.values()) for lane in self._greatest}",
            ),
        ),
        ("snapshot", "object store down", "slow stores"),
        80,
        {"faults": 12, "acts": 80, "lasts_s": 20.0},
    ),
    Bug(
        "a snapshot does not wait for the archive",
        (
            ("snapshot.dump:create", "await _wait_for(", "lambda *_: ("),
            (
                "snapshot.dump:create",
                "f1 = watch.greatest()",
                "f1 = {n: m for n, m in watch.greatest().items() if not await archive.lacking({n: m.seq})}",
            ),
        ),
        ("snapshot", "burnt datacenter", "isolation"),
        150,
        {"faults": 12, "acts": 80, "lasts_s": 30.0},
    ),
    Bug(
        "a retry ignores the word that was given",
        (
            (
                "stores.parking:Parking.retry",
                "if self._drops.hold((lane, seq)):",
                "if False:",
            ),
        ),
        ("poison event", "upgrade", "parked retried", "parked dropped"),
        150,
        {"faults": 14, "versions": True, "dcs": 2},
    ),
    Bug(
        "one word drops an event",
        (("core.drops:dropped", "return bool(agreed) and named <= agreed.keys()", "return bool(agreed)"),),
        ("poison event", "upgrade", "parked dropped"),
        150,
        {"faults": 14, "versions": True},
    ),
    Bug(
        "the clock's bound is smaller than the clocks' error",
        (("core.clock:HybridClock.see", "if tick > self.bound():", "if tick > self.bound() - _SKEW:"),),
        ("clock skew",),
        40,
        RESTLESS | {"skew_ms": 200},
    ),
    Bug(
        "a dissolved group lives",
        (("core.actions.conversations:live_chat", "if found.dissolved:", "if False:"),),
        ("cut",),
        150,
        {"acts": 80},
    ),
    Bug(
        "who is out may speak",
        (("core.actions.messages:_destination", "if actor not in reach.to:", "if False:"),),
        ("cut",),
        40,
        {"acts": 80},
    ),
    Bug(
        "a revoked session is let in",
        (("api.tokens:_unless_revoked", "if row is not None and row.revoked:", "if False:"),),
        ("cut",),
        40,
        {"acts": 80},
    ),
)

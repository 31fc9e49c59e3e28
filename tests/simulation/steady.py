"""What never goes back: cells of the relational store, frontiers, V. Looked at as they are written and told."""

from collections.abc import Mapping
from typing import Any

from core.tables import TABLES, Cell, Law
from stores.ports import RelationalBatch

Tables = Mapping[str, Mapping[Any, Mapping[str, Cell]]]


def before(tables: Tables, batch: RelationalBatch) -> list[tuple[str, Any, str, Any]]:
    """What stands in the cells that a batch is about: (table, key, column, value or stamp)."""
    found = []
    for _, effect in batch.effects:
        cells = tables.get(effect.table, {}).get(effect.key, {})
        for column in effect.columns:
            if column in cells:
                found.append((effect.table, effect.key, column, _rank(effect.table, column, cells[column])))
    return found


def gone_back(tables: Tables, stood: list[tuple[str, Any, str, Any]]) -> str:
    """The first cell that moved against its law, in words; "" if none did."""
    for table, key, column, rank in stood:
        now = _rank(table, column, tables[table][key][column])
        if now < rank:
            return f"{table}.{column} of {key} went back from {rank} to {now}"
    return ""


def _rank(table: str, column: str, cell: Cell) -> Any:
    """What may only grow, by the law of the column; 0 where nothing may be said."""
    law = TABLES[table].columns[column].law
    if law is Law.LWW:
        return cell.stamp
    if law is Law.MIN:
        return -cell.value
    return cell.value if law in (Law.MAX, Law.ONCE) else 0


class Frontiers:
    """How far each datacenter was, by its own word."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._applied: dict[str, dict[int, int]] = {}
        self._v: dict[str, dict[int, int]] = {}
        self._durable: dict[str, dict[int, int]] = {}

    def forget(self, dc: str) -> None:
        """Its disks lost something: it may begin again from less."""
        for known in (self._applied, self._v, self._durable):
            known.pop(dc, None)

    def look(self, home: Any) -> None:
        """At a datacenter that serves: whatever happened to its process, its log still holds what it applied."""
        progress = home.dc.applier.progress
        self._grown(home.name, "the applied frontier", self._applied, {n: m.seq for n, m in progress.applied.items()})
        self._grown(home.name, "V", self._v, progress.v())
        durable = home.dc.replicator.durable()
        # After a start it is looked at little by little: others hear of less for a moment, and are told again.
        self._grown(home.name, "the durable frontier", self._durable, durable, None)
        lanes = home.disks.log._lanes
        for lane, seq in durable.items():
            held = lanes[lane].top.seq if lane in lanes else 0
            if seq > held:
                self._world.ledger.broken(f"{home.name} says that it holds lane {lane} through {seq}, it is {held}")

    def _grown(
        self, dc: str, what: str, known: dict[str, dict[int, int]], now: Mapping[int, int], missing: int | None = 0
    ) -> None:
        """`missing`: what a lane that is not told of counts as; None: as what it was."""
        last = known.setdefault(dc, {})
        for lane, at in last.items():
            if now.get(lane, at if missing is None else missing) < at:
                self._world.ledger.broken(f"{dc}: {what} of lane {lane} went back from {at} to {now.get(lane, 0)}")
        last.update(now)

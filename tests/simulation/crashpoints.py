"""Where crashes fall: at which awaits of production code the tasks of a process stood when it was killed.

`POINTS` names the awaits between the steps that have to survive it, by the text of their line; a text that is not there
any more fails loudly, as a planted bug's does.
"""

import asyncio
import functools
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from tests.simulation.planted import function_at

ROOT = Path(__file__).parents[2]
PRODUCTION = ("api", "broker", "cli", "core", "events", "replicator", "snapshot", "stores")


class Point(NamedTuple):
    name: str
    where: str
    """module:function."""
    text: str
    """Stands in exactly one line of it."""


POINTS = (
    Point(
        "lane: its incarnation chosen, not remembered", "cli.writer_lane:WriterLane._incarnation", "set_meta(META_NAME"
    ),
    Point("lane: its incarnation being claimed", "replicator.incarnations:Incarnations.claim", "put_new("),
    Point("lane: being opened", "events.lane_writer:LaneWriter.start", "await self._log.open("),
    Point("append: sent, not answered", "events.lane_writer:LaneWriter._append", "await self._log.append("),
    Point("append done, apply not", "events.lane_writer:LaneWriter._apply_until_done", "await self._apply(entries)"),
    Point("apply: being decided", "stores.row_writer:RowWriter._decide", "await self._hot.decide("),
    Point("apply: rows on their way", "stores.row_writer:RowWriter._write_relational", "await self._relational.apply("),
    Point("apply: rows done, updates on their way", "stores.hot_writer:HotWriter.write", "await self._hot.apply("),
    Point("apply done, announce on its way", "stores.announce:Announcer.announce", "await self._announce("),
    Point("frontier: moved on its own", "stores.row_writer:RowWriter.move", "await self._relational.apply("),
    Point("frontier: synced for the trimmer", "stores.row_writer:RowWriter.stored", "set_meta(_STORED"),
    Point("replication: on its way into the log", "replicator.intake:Intake._write", "await self._log.store(proven)"),
    Point("replication: in the log, being applied", "replicator.replayer:Replayer._post", "await self._target.replay("),
    Point("recovery: from the log", "stores.apply:Applier._catch_up", "await self._batch("),
    Point("hot state: its epoch being kept", "stores.hot_writer:HotWriter._rebuild", 'set_meta("epoch"'),
    Point("hot state: being rebuilt", "stores.hot_writer:HotWriter._rebuild", "await rebuild_hot("),
    Point("hot state: being published", "stores.hot_writer:HotWriter._rebuild", "publish_epoch("),
    Point("parked: being applied after all", "stores.row_writer:RowWriter.write_again", "await self._messages.flush()"),
    Point("parked: applied, still listed", "stores.parking:Parking._unpark", "await self._rows.unpark("),
    Point("log: being trimmed", "snapshot.trimmer:Trimmer.trim", "await self._log.trim("),
    Point("collection", "replicator.collector:Collector.collect", "await self._relational.collect("),
    Point("archive: a segment on its way", "snapshot.archiver:Archiver._seal_lane", "put_new("),
    Point("archive: segments merged, not replaced yet", "snapshot.archiver:Archiver._replace", "put_new("),
    Point("archive: the replaced being deleted", "snapshot.archiver:Archiver._delete", "await self._objects.delete("),
    Point("snapshot: a chunk on its way", "snapshot.chunks:put_chunk", "await objects.put_new("),
    Point("snapshot: copied, the archive lags", "snapshot.dump:create", "await _wait_for("),
    Point("snapshot: manifest on its way", "snapshot.dump:create", "await objects.put_new(manifest.key"),
    Point("restore: rows being loaded", "snapshot.restore:restore", "await _load_rows("),
    Point("restore: rows done, frontier not", "snapshot.restore:restore", "await messages.set_frontier("),
    Point("restore: the log being filled", "snapshot.restore:restore", "await _fill_log("),
    Point("restore: done, not declared so", "snapshot.restore:restore", "set_meta(SERVE_AFTER"),
)


def _lines() -> dict[tuple[CodeType, int], str]:
    """(code, line) -> the point that is there."""
    found = {}
    for point in POINTS:
        function = inspect.unwrap(function_at(point.where))
        lines, first = inspect.getsourcelines(function)
        at = [first + number for number, line in enumerate(lines) if point.text in line]
        assert len(at) == 1, f"{point.where} has {len(at)} lines with {point.text!r}"
        found[function.__code__, at[0]] = point.name
    return found


_LINES = _lines()
"""Before any bug is planted."""


def reached(tasks: Iterable["asyncio.Task[Any]"]) -> tuple[set[str], set[str]]:
    """The points at which these tasks stand; and the innermost places in production code, as module:function:line."""
    points, places = set(), set()
    for task in tasks:
        if task.done():
            continue
        place = ""
        for code, line in _stack(task.get_coro()):
            module = _module(code)
            if module:
                place = f"{module}:{code.co_qualname}:{line}"
                if point := _LINES.get((code, line)):
                    points.add(point)
        if place:
            places.add(place)
    return points, places


def _stack(coroutine: Any) -> Iterator[tuple[CodeType, int]]:
    """Outermost first."""
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                yield frame.f_code, frame.f_lineno
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            return


@functools.cache
def _module(code: CodeType) -> str:
    """Of production code; "" for what is none."""
    path = Path(code.co_filename)
    if not path.is_relative_to(ROOT):
        return ""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts) if parts[0] in PRODUCTION else ""

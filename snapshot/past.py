"""The event log with its past: what was trimmed from it is read from this DC's archive.

The log is trimmed through what is archived (snapshot/trimmer.py), so between the two nothing is ever missing.
"""

import logging

from core.errors import PlanBError
from events.ports import LogReader, Top, Trimmed
from events.record import Record
from snapshot.archive import Archive

_log = logging.getLogger(__name__)


class LogWithPast:
    """An `events.ports.LogReader`. Keeps one segment of the archive decoded; safe to share within a process."""

    def __init__(self, log: LogReader, archive: Archive) -> None:
        self._log = log
        self._archive = archive
        self.served = 0
        """Records that came from the archive."""

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        """As `EventLog.read`; Trimmed only where the archive does not give the records either (why is logged)."""
        try:
            return await self._log.read(lane, after, limit)
        except Trimmed as trimmed:
            try:
                records = await self._archive.read(lane, after, limit)
            except PlanBError as error:
                _log.warning("lane %d after %d is no longer in the log: %s", lane, after, error.detail)
                raise trimmed from error
            # Never beyond the log: an archive may know a lane's end that this log has lost, or never had.
            end = trimmed.first - 1 if trimmed.first else (await self._log.tops())[lane].seq
            records = [record for record in records if record.seq <= end]
            if not records:
                raise
            self.served += len(records)
            return records

    async def tops(self) -> dict[int, Top]:
        """As `EventLog.tops`."""
        return await self._log.tops()

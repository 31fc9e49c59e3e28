"""Protection of our own lanes: nobody may know more of a lane than its writer, or something else.

If a peer does, our log has lost its end (a restored disk, a failed sync) or somebody else wrote as us. Writing on would
put other bytes at a place that is taken. The process must stop the lane and come back as a new incarnation.
"""

from collections.abc import Collection, Mapping

from events.ports import LogReader, Trimmed

Told = Mapping[int, tuple[int, bytes]]
"""lane -> (seq, hash) of a lane's end as a peer holds it."""


class OwnLanes:
    """Compares what peers hold of our live lanes with our log."""

    def __init__(self, event_log: LogReader) -> None:
        self._log = event_log
        self._agreed: dict[int, tuple[int, bytes]] = {}

    async def conflict(self, live: Collection[int], told: Told) -> tuple[int, str] | None:
        """The first live lane that a peer knows better, and how. Call after the answer came: a peer can hold only
        what our log held before."""
        news = {lane: end for lane, end in told.items() if lane in live and self._agreed.get(lane) != end and end[0]}
        if not news:
            return None
        tops = await self._log.tops()
        for lane, (seq, hash) in news.items():
            top = tops.get(lane)
            if top is None or seq > top.seq:
                return lane, f"a peer holds it through seq {seq}, this log only through {top.seq if top else 0}"
            if seq == top.seq:
                ours = top.hash
            else:
                try:
                    ours = (await self._log.read(lane, seq - 1, 1))[0].hash
                except Trimmed:
                    continue
            if ours != hash:
                return lane, f"a peer holds another record at seq {seq}"
            self._agreed[lane] = (seq, hash)
        return None

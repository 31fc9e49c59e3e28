"""Looks at the clocks of one datacenter now and then: what its operator is told, and when its lane has to be left."""

import logging
from collections.abc import Mapping
from typing import Any

from core import limits
from core.clock import HybridClock
from core.clock_error import ClockError
from replicator.names import DcNames

log = logging.getLogger(__name__)


class ClockWatch:
    """One per process; `look` about once a second."""

    def __init__(
        self, errors: ClockError, clock: HybridClock, names: DcNames, far_ahead: Mapping[int, int], period_s: float
    ) -> None:
        """`far_ahead`: lane -> events of others that were stamped beyond the bound. `period_s`: between looks."""
        self._errors = errors
        self._clock = clock
        self._names = names
        self._far_ahead = far_ahead
        self._every = max(1, round(limits.CLOCK_ALARM_S / period_s))
        self._looks = 0
        self._reported: dict[int, int] = {}
        self._doubted = False

    def look(self) -> str:
        """Why the lane has to be left for another one; "" if it need not. The clock is right again, and what was
        written while it was ahead is not waited for."""
        self._errors.look()
        doubt = self._errors.doubt()
        if bool(doubt) != self._doubted:
            self._doubted = bool(doubt)
            log.warning("%s", f"writes are refused: {doubt}" if doubt else "the wall clock is right: writes are taken")
        if self._looks % self._every == 0:
            self._alarm()
        self._looks += 1
        ahead_ms = self._clock.ahead_ms()
        if doubt or ahead_ms <= limits.LANE_AHEAD_MS_MAX:
            return ""
        return f"the lane ends {ahead_ms} ms ahead of this machine's wall clock: another one is begun"

    def shown(self) -> dict[str, Any]:
        """For the status. Offsets are what a peer's wall clock shows more than ours."""
        return {
            "error_ms": self._errors.error_ms(),
            "refuses": self._clock.refusal(),
            "ahead_ms": self._clock.ahead_ms(),
            "peers": {
                peer: {"offset_ms": offset.ms, "uncertain_ms": offset.uncertain_ms}
                for peer, offset in self._errors.offsets().items()
            },
            "far_ahead": self._names.lanes(self._far_ahead),
        }

    def _alarm(self) -> None:
        apart_ms = self._errors.apart_ms()
        if apart_ms > 2 * limits.CLOCK_ERROR_MS_MAX:
            offsets = {peer: offset.ms for peer, offset in self._errors.offsets().items()}
            log.warning("wall clocks are apart by up to %d ms; a peer's minus ours: %s", apart_ms, offsets)
        for lane, count in self._far_ahead.items():
            if more := count - self._reported.get(lane, 0):
                log.warning("%d events of lane %s are stamped too far ahead", more, self._names.lane(lane))
                self._reported[lane] = count

"""What a listener's log says of errors: what the client is not told."""

import json
import logging
import traceback
from collections.abc import Callable

from core import limits
from core.errors import PlanBError

log = logging.getLogger("planb.api")
_Reason = tuple[str, str, str]


class RefusalLog:
    """Errors of ours (5xx) are written, a client's own mistakes are not. On a bad day every request is refused, for one
    reason: of those a line in each REFUSALS_LOGGED_MS, with how many there were since the one before. A log that grew
    by each of them would fill a disk, maybe the very one that is the reason. What is unexpected is always written."""

    def __init__(self, steady_s: Callable[[], float]) -> None:
        self._steady_s = steady_s
        self._told_s: dict[_Reason, float] = {}
        self._untold: dict[_Reason, int] = {}

    def record(self, error: Exception, shown: PlanBError, request_id: str, where: str) -> None:
        """`shown`: what the client was told of `error`."""
        if shown.status < 500 and not shown.private:
            return
        line: dict[str, object] = {"request": request_id, "where": where, "code": shown.code, "detail": shown.detail}
        line |= {"private": shown.private} if shown.private else {}
        if shown.status == 500 or not isinstance(error, PlanBError):
            line["trace"] = "".join(traceback.format_exception(error))
        else:
            reason = (shown.code, shown.detail, shown.private)
            if not self._due(reason):
                self._untold[reason] = self._untold.get(reason, 0) + 1
                return
            more = self._untold.pop(reason, 0)
            line |= {"more_like_it": more} if more else {}
        log.error("%s", json.dumps(line))

    def _due(self, reason: _Reason) -> bool:
        now_s = self._steady_s()
        if now_s - self._told_s.get(reason, float("-inf")) < limits.REFUSALS_LOGGED_MS / 1_000:
            return False
        if len(self._told_s) >= limits.REFUSAL_REASONS_MAX:
            self._told_s.clear()
            self._untold.clear()
        self._told_s[reason] = now_s
        return True

"""The outermost layer of a listener: problems for errors, the bound on requests in flight, counters, the access log."""

import json
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import web

from api import problems
from api.fields import check_announced
from api.metrics import Metrics
from api.places import PLACE, Place, Places
from api.refusal_log import RefusalLog
from core import errors, limits
from core.system import Entropy
from stores.ports import EpochLost

log = logging.getLogger("planb.access")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


class Guard:
    """One per application. Handlers given to `bounded` count as requests in flight; a long-lived stream does not."""

    def __init__(
        self,
        metrics: Metrics,
        entropy: Entropy,
        *,
        in_flight_max: int = limits.REQUESTS_IN_FLIGHT_MAX,
        access_log: bool = False,
        refuse_dc_header: bool = True,
        bodies_bytes_max: int = limits.BODIES_BYTES_MAX,
        bodies_bytes_of_one_max: int = 0,
    ) -> None:
        """`bodies_bytes_of_one_max`: of one user or address; 0 for no bound but that of all."""
        self._metrics = metrics
        self._prefix = entropy(6).hex()
        self._count = 0
        self._log = RefusalLog(perf_counter)
        self._access_log = access_log
        self._refuse_dc_header = refuse_dc_header
        self.leaving = False
        """Every answer from now on is the last one on its connection."""
        self._places = Places(metrics, in_flight_max, bodies_bytes_max, bodies_bytes_of_one_max or bodies_bytes_max)

    def bounded(self, name: str, handler: Handler, body_bytes_max: int = limits.REQUEST_BYTES_MAX) -> Handler:
        """Counts a request of route `name`, and refuses it while too many are in flight. What comes of its body counts
        in the request's place (api/places.py).
        TooLarge for a body that says that it is greater than the route's bound: nothing of it is read."""
        metrics = self._metrics

        async def count(request: web.Request) -> web.StreamResponse:
            started = perf_counter()
            status = 500
            place = request[PLACE] = Place(self._places)
            try:
                place.enter()
                check_announced(request, body_bytes_max)
                answer = await handler(request)
                status = answer.status
                return answer
            except Exception as error:
                status = self._shown(error).status
                raise
            finally:
                place.close()
                metrics.observe(name, status, perf_counter() - started)

        return count

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter() if self._access_log else 0.0
        try:
            if self._refuse_dc_header and "dc" in request.headers:
                raise errors.ForbiddenHeader("the header dc is for the internal listener only")
            answer = await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = self.problem(error, f"{request.method} {request.path}")
        except Exception as error:
            answer = self.problem(error, f"{request.method} {request.path}")
        if self.leaving or request.method == "CONNECT":
            answer.force_close()  # readers do not agree on where a CONNECT ends
        if self._access_log:
            line = {"method": request.method, "path": request.path, "status": answer.status}
            log.info("%s", json.dumps(line | {"ms": round((perf_counter() - started) * 1000, 2)}))
        return answer

    @property
    def takes_plain(self) -> bool:
        """Whether a request that is answered past the framework may come in now (api/front.py)."""
        return self._places.free and not self._access_log

    def enter_plain(self) -> None:
        """A request that is answered past the framework has come in."""
        self._metrics.in_flight += 1

    def leave_plain(self, name: str, status: int, seconds: float, count: int = 1) -> None:
        """It has its answer; or `count` of them have the same."""
        self._metrics.in_flight -= count
        self._metrics.observe(name, status, seconds, count)

    def problem(self, error: Exception, where: str) -> web.Response:
        """The problem document of an error; logs what the client is not told."""
        self._count += 1
        request_id = f"{self._prefix}-{self._count:x}"
        shown = self._shown(error)
        # A loss of hot state concerns every request until it is mended: one line each, no trace.
        self._log.record(shown if isinstance(error, EpochLost) else error, shown, request_id, where)
        answer = problems.response(shown, request_id)
        if isinstance(error, web.HTTPMethodNotAllowed):
            answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return answer

    @staticmethod
    def _shown(error: Exception) -> errors.PlanBError:
        if isinstance(error, EpochLost):
            return errors.StoreUnavailable("hot state is being rebuilt", retry_after_s=1)
        return problems.translate(error) or errors.PlanBError()

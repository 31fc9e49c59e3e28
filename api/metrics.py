"""Counters of one process in Prometheus' text format; a few dict operations per request, no library."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Gauge = Callable[[], float]
Series = Callable[[], Mapping[str, float]]
"""A label's value -> what is measured of it."""


class Metrics:
    """Requests by route and status, latency by route, requests in flight, and gauges that others bring."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: dict[tuple[str, int], int] = {}
        self._latency: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._gauges: dict[str, tuple[str, Gauge]] = {}
        self._series: dict[str, tuple[str, str, Series]] = {}

    def gauge(self, name: str, help: str, read: Gauge) -> None:
        """A value read at scrape time; `name` as Prometheus wants it, with its unit last."""
        self._gauges[name] = (help, read)

    def series(self, name: str, help: str, label: str, read: Series) -> None:
        """As `gauge`, with a value for each of the label's values."""
        self._series[name] = (help, label, read)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """One answered request. `route` is a template ("POST /v1/messages"), never a path with ids."""
        self._requests[(route, status)] = self._requests.get((route, status), 0) + 1
        counts = self._latency.get(route)
        if counts is None:
            counts = self._latency[route] = [0] * (len(BUCKETS_S) + 1)
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# HELP planb_http_requests_total Answered requests."
        yield "# TYPE planb_http_requests_total counter"
        for (route, status), count in sorted(self._requests.items()):
            yield f'planb_http_requests_total{{route="{route}",status="{status}"}} {count}'
        yield "# HELP planb_http_requests_in_flight Requests being worked on."
        yield "# TYPE planb_http_requests_in_flight gauge"
        yield f"planb_http_requests_in_flight {self.in_flight}"
        yield "# HELP planb_http_request_seconds Time from the request's head to its answer."
        yield "# TYPE planb_http_request_seconds histogram"
        for route, counts in sorted(self._latency.items()):
            total = 0
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
                total += count
                yield f'planb_http_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}'
            yield f'planb_http_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'planb_http_request_seconds_count{{route="{route}"}} {total}'
        for name, (help, read) in sorted(self._gauges.items()):
            yield f"# HELP {name} {help}"
            yield f"# TYPE {name} gauge"
            yield f"{name} {read():g}"
        for name, (help, label, values) in sorted(self._series.items()):
            yield f"# HELP {name} {help}"
            yield f"# TYPE {name} gauge"
            for of, value in sorted(values().items()):
                yield f'{name}{{{label}="{of}"}} {value:g}'

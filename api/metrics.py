"""Counters of one process in Prometheus' text format; a few dict operations per request, no library."""

from collections.abc import Callable, Iterator, Mapping

from core.durations import Durations

Gauge = Callable[[], float]
Series = Callable[[], Mapping[str, float]]
"""A label's value -> what is measured of it."""


class Metrics:
    """Requests by route and status, latency by route, requests in flight, and gauges that others bring."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: dict[tuple[str, int], int] = {}
        self._latency: dict[str, Durations] = {}
        self._stages: dict[str, Durations] = {}
        self._gauges: dict[str, tuple[str, Gauge]] = {}
        self._series: dict[str, tuple[str, str, Series]] = {}

    def gauge(self, name: str, help: str, read: Gauge) -> None:
        """A value read at scrape time; `name` as Prometheus wants it, with its unit last."""
        self._gauges[name] = (help, read)

    def series(self, name: str, help: str, label: str, read: Series) -> None:
        """As `gauge`, with a value for each of the label's values."""
        self._series[name] = (help, label, read)

    def observe(self, route: str, status: int, seconds: float, count: int = 1) -> None:
        """One answered request, or `count` that took as long. `route` is a template ("POST /v1/messages"), never a path
        with ids."""
        self._requests[(route, status)] = self._requests.get((route, status), 0) + count
        latency = self._latency.get(route)
        if latency is None:
            latency = self._latency[route] = Durations()
        latency.note(seconds, count)

    def stage(self, stage: str, durations: Durations) -> None:
        """How long a step takes that others measure."""
        self._stages[stage] = durations

    def answered(self) -> tuple[int, int]:
        """Requests so far, and those of them that ended with a status of 500 and more."""
        failed = sum(count for (_, status), count in self._requests.items() if status >= 500)
        return sum(self._requests.values()), failed

    def latency(self) -> Durations:
        """Of all routes together."""
        found = Durations()
        for one in self._latency.values():
            found.counts = [sum(pair) for pair in zip(found.counts, one.counts, strict=True)]
            found.seconds += one.seconds
        return found

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
        yield from _histogram(
            "planb_http_request_seconds", "From a request's head to its answer.", "route", self._latency
        )
        if self._stages:
            yield from _histogram("planb_stage_seconds", "Of a batch: see docs/operations.md.", "stage", self._stages)
        for name, (help, read) in sorted(self._gauges.items()):
            yield f"# HELP {name} {help}"
            yield f"# TYPE {name} gauge"
            yield f"{name} {read():g}"
        for name, (help, label, values) in sorted(self._series.items()):
            yield f"# HELP {name} {help}"
            yield f"# TYPE {name} gauge"
            for of, value in sorted(values().items()):
                yield f'{name}{{{label}="{of}"}} {value:g}'


def _histogram(name: str, help: str, label: str, all_: Mapping[str, Durations]) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} histogram"
    for of, durations in sorted(all_.items()):
        count = 0
        for bound, count in durations.cumulated():
            yield f'{name}_bucket{{{label}="{of}",le="{bound}"}} {count}'
        yield f'{name}_sum{{{label}="{of}"}} {durations.seconds:.6f}'
        yield f'{name}_count{{{label}="{of}"}} {count}'

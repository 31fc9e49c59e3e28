"""What a run of hostile clients was, as a document."""

import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.pipes import Answer

FINDINGS_MAX = 50


@dataclass
class Report:
    """What was sent, what came back, and what should not have."""

    seed: int
    seconds: float = 0.0
    requests: int = 0
    """Requests that were answered or refused by closing, on both listeners."""
    routes: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    ordinary: dict[str, Any] = field(default_factory=dict)
    writes: int = 0
    decoders: dict[str, int] = field(default_factory=dict)

    def count(self, route: str, status: object) -> None:
        self.requests += 1
        self.routes.setdefault(route, Counter())[str(status)] += 1

    def found(self, what: str, request: bytes = b"", answer: Answer | None = None) -> None:
        """The first of each kind is told whole."""
        if len(self.findings) < FINDINGS_MAX:
            shown = {"status": answer.status, "body": answer.body[:500].decode("latin-1")} if answer else {}
            self.findings.append({"what": what, "request": base64.b64encode(request[:4_096]).decode(), **shown})

    def document(self) -> dict[str, Any]:
        """As JSON."""
        statuses = sum(self.routes.values(), Counter())
        return {
            "seed": self.seed,
            "requests": self.requests,
            "seconds": round(self.seconds, 1),
            "requests_per_s": round(self.requests / self.seconds) if self.seconds else 0,
            "server_errors": sum(n for status, n in statuses.items() if status.startswith("5") and status != "503"),
            "statuses": dict(sorted(statuses.items())),
            "routes": {route: dict(sorted(found.items())) for route, found in sorted(self.routes.items())},
            "acknowledged_writes": self.writes,
            "processes": self.processes,
            "ordinary": self.ordinary,
            "decoders": self.decoders,
            "findings": self.findings,
        }

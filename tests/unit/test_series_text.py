"""Measurements as text, also where the terminal is narrow."""

from typing import Any

from cli.series_text import drawn, spark
from cli.text import fitted

STEP_MS = 60_000
BEGIN_MS = 1_764_370_800_000


def shown(*values: float | None) -> dict[str, Any]:
    """An answer of `planb series show`, with a window for each value that there is."""
    windows = [
        {"at_ms": BEGIN_MS + place * STEP_MS, "points": 1, "mean": {"per_s": value / 2}, "max": {"per_s": value}}
        for place, value in enumerate(values)
        if value is not None
    ]
    series = [{"dc": "fra", "service": "all", "of": "requests_failed", "windows": windows}]
    span = {"from_ms": BEGIN_MS, "to_ms": BEGIN_MS + len(values) * STEP_MS, "step_ms": STEP_MS}
    return {"kind": "msg_rate", "what": "events", "columns": ["per_s"], "series": series, **span}


def test_a_line_goes_from_nothing_to_the_greatest() -> None:
    assert spark([0.0, 1.0, 2.0, 4.0, 8.0]) == "▁▂▃▅█"
    assert spark([0.0, 0.0]) == "▁▁"
    assert spark([-1.0, 3.0]) == "▁█"
    assert spark([]) == ""


def test_a_time_without_a_measurement_is_seen() -> None:
    assert spark([None, 5.0, None]) == "·█·"


def test_figures_are_of_all_windows() -> None:
    _, _, line, _ = drawn(shown(10.0, None, 1_000.0, 4.0))
    assert line.split() == ["fra", "all", "requests_failed", "4.0", "169", "1,000", "▁·█▁"]


def test_a_narrow_terminal_breaks_no_line_of_bars() -> None:
    bars = "▂·█" * 20
    (row,) = (line for line in drawn(shown(*[1.0, None, 8.0] * 20)) if "▂" in line)
    assert bars in row
    assert any(line.strip() == bars for line in fitted(row, 80).split("\n"))

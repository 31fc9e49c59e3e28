"""Measurements as text: a line of bars for each series, over time."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.tables import instant, table
from stores.series import MEASURES

_BARS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float | None]) -> str:
    """One character each, from 0 to the greatest of them; a dot where nothing was measured. Not a space: a
    terminal would break the line there."""
    top = max((value for value in values if value is not None), default=0) or 1
    return "".join(
        "·" if value is None else _BARS[min(max(int(value / top * len(_BARS)), 0), len(_BARS) - 1)] for value in values
    )


def listed(answer: Mapping[str, Any]) -> list[str]:
    rows = [
        (one["measure"], one["dc"], one["service"], one["kind"], one["points"], instant(one["first_ms"]),
         instant(one["last_ms"]))
        for one in answer["series"]
    ]  # fmt: skip
    return [
        *table(("kind", "dc", "service", "of", "points", "from (UTC)", "to"), rows),
        "",
        *table(("kind", "what"), answer["kinds"].items()),
        f"in {answer['store']}",
    ]


def drawn(answer: Mapping[str, Any]) -> list[str]:
    column, step_ms = MEASURES[answer["kind"]].drawn, answer["step_ms"]
    begins = range(answer["from_ms"], answer["to_ms"], step_ms)
    rows = []
    for one in answer["series"]:
        greatest = {window["at_ms"]: window["max"][column] for window in one["windows"]}
        points = sum(window["points"] for window in one["windows"])
        mean = sum(window["mean"][column] * window["points"] for window in one["windows"]) / points
        last = one["windows"][-1]["max"][column]
        figures = (f"{value:,.{1 if value < 100 else 0}f}" for value in (last, mean, max(greatest.values())))
        rows.append((one["dc"], one["service"], one["of"], *figures, spark([greatest.get(at) for at in begins])))
    return [
        f"{answer['kind']}: {answer['what']}",
        *table(("dc", "service", "of", "last", "mean", "max", f"{column} from {instant(answer['from_ms'])} UTC"), rows),
        f"  a character is the greatest of {step_ms // 1000:,} s, a dot is no measurement;"
        f" {', '.join(answer['columns'])} of each: --json",
    ]

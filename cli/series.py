"""Where a datacenter's measurements are, and `planb series`: what they say of the last hours, also while it is down."""

import argparse
import re
from pathlib import Path
from typing import Any

from cli import settings as configuration
from cli.settings import Settings
from core.errors import ConfigError, Invalid, NotFound
from core.system import Clock, wall_clock_ms
from stores.adapters.sqlite_series import SqliteSeries
from stores.series import MEASURES, Series, SeriesStore, Window

DAY_MS = 86_400_000
LINE_WINDOWS = 60
"""Characters of a line."""
UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def where(settings: Settings) -> str:
    """As an operator knows it: the URL, or the file."""
    series = settings.series
    return (
        f"{series.tdengine_url}, database {series.tdengine_database}" if series.tdengine_url else str(_file(settings))
    )


def opened(settings: Settings, now_ms: Clock = wall_clock_ms) -> SeriesStore | None:
    """The store; None where the settings want none. ConfigError for a password file that can't be read. Reaches for
    nothing yet."""
    series = settings.series
    if not series.enabled:
        return None
    if not series.tdengine_url:
        return SqliteSeries(_file(settings), now_ms=now_ms, kept_ms=series.retention_days * DAY_MS)
    try:
        from stores.adapters.tdengine_series import TDenginePlace, TDengineSeries  # its driver takes its time
    except ModuleNotFoundError as error:
        raise ConfigError(f'series.tdengine_url needs {error.name}: pip install "planb[engines]"') from error
    password_file = settings.secrets.tdengine_password_file
    return TDengineSeries(
        TDenginePlace(
            series.tdengine_url,
            series.tdengine_user,
            configuration.password(password_file) if password_file else "",
            series.tdengine_database,
            series.retention_days,
        )
    )


def _file(settings: Settings) -> Path:
    return settings.stores.data_dir / "series.db"


# -- the command


async def run(args: argparse.Namespace) -> dict[str, Any]:
    settings = configuration.load(args.config)
    store = opened(settings)
    if store is None:
        raise NotFound(f"nothing is measured: series.enabled is false in {args.config}")
    try:
        return await (_list(store, settings) if args.verb == "list" else _show(store, settings, args))
    finally:
        await store.close()


async def _list(store: SeriesStore, settings: Settings) -> dict[str, Any]:
    return {
        "series": [
            {**held.series._asdict(), "points": held.points, "first_ms": held.first_ms, "last_ms": held.last_ms}
            for held in await store.held()
        ],
        "kinds": {name: measure.what for name, measure in MEASURES.items()},
        "store": where(settings),
    }


async def _show(store: SeriesStore, settings: Settings, args: argparse.Namespace) -> dict[str, Any]:
    """Windows so long that LINE_WINDOWS of them reach from `--since` to now; the last one is not over."""
    since_ms = span_ms(args.since)
    step_ms = max(1_000, -(-since_ms // LINE_WINDOWS // 1_000) * 1_000)
    end_ms = (wall_clock_ms() // step_ms + 1) * step_ms
    begin_ms = end_ms - LINE_WINDOWS * step_ms
    found = await store.windows(args.kind, begin_ms, end_ms, step_ms, args.dc or "")
    if not found:
        of = f" of {args.dc}" if args.dc else ""
        raise NotFound(
            f"no {args.kind}{of} in the last {args.since} in {where(settings)}."
            f" What there is: planb series list --config {args.config}"
        )
    by_series: dict[Series, list[Window]] = {}
    for window in found:
        by_series.setdefault(window.series, []).append(window)
    columns = MEASURES[args.kind].columns
    return {
        "kind": args.kind,
        "what": MEASURES[args.kind].what,
        "columns": columns,
        "from_ms": begin_ms,
        "to_ms": end_ms,
        "step_ms": step_ms,
        "series": [
            {
                "dc": series.dc,
                "service": series.service,
                "of": series.kind,
                "windows": [
                    {
                        "at_ms": one.at_ms,
                        "points": one.points,
                        "mean": dict(zip(columns, one.mean, strict=True)),
                        "max": dict(zip(columns, one.greatest, strict=True)),
                    }
                    for one in windows
                ],
            }
            for series, windows in by_series.items()
        ],
    }


def span_ms(text: str) -> int:
    """ "90m" -> milliseconds."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if not found:
        raise Invalid(f"--since {text}: say it as 30m, 12h or 7d")
    return int(found[1]) * UNITS_MS[found[2]]

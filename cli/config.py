"""`planb config`: what is wrong with the settings, and which are in force. Neither starts or reaches anything."""

import argparse
from typing import Any

from cli.settings import load
from cli.settings_files import unusable
from cli.settings_keys import dotted
from cli.settings_sources import Found, Wrong, listed, read
from core.errors import ConfigError


async def run(args: argparse.Namespace) -> dict[str, Any]:
    found = read(args.config)
    return _check(args, found) if args.verb == "check" else _show(args, found)


def problems(found: Found) -> list[Wrong]:
    """All that is wrong: what `serve` would refuse, and what the settings name on this machine."""
    wrong = list(found.wrong)
    if found.settings is not None:
        said = {one.key for one in wrong}
        for clash in unusable(found.settings):
            if clash.keys[0] not in said:
                source = found.sources.source(tuple(clash.keys[0].split(".")))
                wrong.append(Wrong(clash.keys[0], source, clash.problem, clash.advice))
    return wrong


def _check(args: argparse.Namespace, found: Found) -> dict[str, Any]:
    wrong = problems(found)
    return {
        "ok": not wrong,
        "config": str(args.config),
        "wrong": [one._asdict() for one in wrong],
        **({"exit_code": ConfigError.exit_code} if wrong else {}),
    }


def _show(args: argparse.Namespace, found: Found) -> dict[str, Any]:
    """Every setting in force. None of them is a secret: those are in files, of which only the names are known here."""
    settings = load(args.config)
    return {
        "config": str(args.config),
        "settings": [
            {"key": dotted(place), "value": value, "source": source}
            | ({"variable": variable} if source == "environment" else {})
            for place, value, source, variable in listed(found.sources, settings)
        ],
    }

"""Where settings come from: a TOML file and, over it, the environment. All that is wrong with them is found at once,
each with its place.

A variable's name is PLANB_ and the key, with __ for each dot: PLANB_STORES__LOG_URL.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
from pydantic_settings import EnvSettingsSource, SettingsError

from cli.settings import Settings
from cli.settings_keys import Place, dotted, example_at, leaves_in, nearest, table_at
from cli.settings_rules import clashes

PREFIX = "PLANB_"
JOINT = "__"
ROUNDS_MAX = 20
"""Of looking again without what was wrong; each goes one table deeper."""
_SAID = {
    "missing": "is missing",
    "extra_forbidden": "there is no such setting",
    "string_pattern_mismatch": "has not the form that it needs",
    "path_type": "has to be a path",
}


class Wrong(NamedTuple):
    """One thing that is wrong with the settings."""

    key: str
    """"" where it is all of them."""
    source: str
    """The file, or the variable of the environment."""
    problem: str
    write: str
    """What would be right; "" where that is not known."""

    def __str__(self) -> str:
        where = f" (${self.source})" if self.source.startswith(PREFIX) else ""
        return f"{self.key}{where}: {self.problem}" if self.key else self.problem


class Sources(NamedTuple):
    """What was given, and by whom."""

    path: Path
    values: dict[str, Any]
    """File and environment in one."""
    variables: dict[Place, str]
    """What the environment says -> the variable that says it."""
    wrong: list[Wrong]
    """What could not be read."""

    def variable(self, place: Place) -> str:
        """Which one says what stands there, or a part of it; "" where none does."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.variables:
                return self.variables[place[:end]]
        return next((name for at, name in self.variables.items() if at[: len(place)] == place), "")

    def source(self, place: Place) -> str:
        """The variable, or the file."""
        return self.variable(place) or str(self.path)


class Found(NamedTuple):
    """The settings, or why there are none."""

    settings: Settings | None
    """Also where something is wrong, if enough is known of what was meant."""
    wrong: list[Wrong]
    sources: Sources


def read(path: Path) -> Found:
    """Reads and judges everything that stands in the settings; opens none of the files that they name."""
    sources = _read(path)
    if not sources.values and sources.wrong:
        return Found(None, sources.wrong, sources)
    settings, wrong = _judged(sources)
    return Found(settings, [*sources.wrong, *wrong], sources)


# -- reading


def _read(path: Path) -> Sources:
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Sources(path, {}, {}, [Wrong("", str(path), "no such file", "--config FILE")])
    except OSError as error:
        return Sources(path, {}, {}, [Wrong("", str(path), str(error.strerror), "")])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Sources(path, {}, {}, [Wrong("", str(path), f"is not TOML: {error}", "")])
    variables: dict[Place, str] = {}
    wrong = []
    environment = EnvSettingsSource(Settings)
    for name in sorted(os.environ):
        if not name.upper().startswith(PREFIX):
            continue
        environment.env_vars = {name.lower(): os.environ[name]}  # one by one: so it is known which said what
        place = tuple(name.lower().removeprefix(PREFIX.lower()).split(JOINT))
        try:
            said = environment()
        except SettingsError as error:
            wrong.append(Wrong(dotted(place), name, f"is not JSON: {error.__cause__}", ""))
            continue
        if not said and len(place) > 1:
            wrong.append(Wrong(dotted(place), name, _SAID["extra_forbidden"], _variable(nearest(place))))
        for at, _ in leaves_in(said):
            variables[at] = name
        _lay_over(values, said)
    return Sources(path, values, variables, wrong)


def _lay_over(values: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        there = values.get(name)
        if isinstance(value, Mapping) and isinstance(there, dict):
            _lay_over(there, value)
        else:
            values[name] = value


# -- judging


def _judged(sources: Sources) -> tuple[Settings | None, list[Wrong]]:
    """What is wrong is taken out, or an example put in its place, until the rest can be judged as well."""
    wrong: list[Wrong] = []
    values = json_like(sources.values)
    left_out: set[Place] = set()
    settings = None
    for _ in range(ROUNDS_MAX):
        try:
            settings = Settings(**values)
            break
        except pydantic.ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                place = tuple(str(part) for part in one["loc"] if part != "[key]")
                table = _table(one["loc"])
                if one["type"] == "missing" and table_at(table) is not None:
                    _put(values, table, {})  # what it has to have is missed in the next round
                    continue
                if not any(table[:end] in left_out for end in range(1, len(table) + 1)):
                    wrong.append(_wrong(sources, place, one))
                    left_out.add(table)
                _put(values, table, example_at(table) if one["type"] == "missing" else None)
    if settings is not None:
        meant = {tuple(one.write.partition(" ")[0].split(".")) for one in wrong}
        for clash in clashes(settings):
            keys = [tuple(key.split(".")) for key in clash.keys]
            if not any(_related(key, other) for key in keys for other in left_out | meant):
                wrong.append(Wrong(clash.keys[0], sources.source(keys[0]), clash.problem, clash.advice))
    return settings, wrong


def json_like(values: Any) -> Any:
    """A copy whose tables may be changed."""
    return {name: json_like(value) for name, value in values.items()} if isinstance(values, Mapping) else values


def _table(loc: tuple[int | str, ...]) -> Place:
    """What can be left out: a list as a whole."""
    parts: list[str] = []
    for part in loc:
        if not isinstance(part, str):
            break
        if part != "[key]":
            parts.append(part)
    return tuple(parts)


def _put(values: dict[str, Any], place: Place, value: Any) -> None:
    """None takes it away."""
    for name in place[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        values = inner
    if value is None:
        values.pop(place[-1], None)
    else:
        values[place[-1]] = value


def _wrong(sources: Sources, place: Place, error: Any) -> Wrong:
    kind, variable = error["type"], sources.variable(place)
    if kind == "extra_forbidden":
        meant = nearest(place)
        write = f"{_variable(meant) if variable else meant} instead" if meant else "remove it"
    else:
        example = example_at(_table(error["loc"]))
        write = "" if example is None else _assignment(place, example, variable)
    problem = _SAID.get(kind) or str(error["msg"]).removeprefix("Value error, ")
    return Wrong(dotted(place), sources.source(place), problem, write)


def _assignment(place: Place, example: Any, variable: str) -> str:
    if variable:
        return f"for example {_variable(dotted(place))}={example}"
    return f"for example {dotted(place)} = {json.dumps(example)}"


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", JOINT) if key else ""


def _related(one: Place, other: Place) -> bool:
    return one[: len(other)] == other or other[: len(one)] == one


def listed(sources: Sources, settings: Settings) -> Iterator[tuple[Place, Any, str, str]]:
    """(place, value, "default" | "file" | "environment", the variable) of every setting in force."""
    given = {place for place, _ in leaves_in(sources.values)}
    for place, value in leaves_in(settings.model_dump(mode="json")):
        variable = sources.variable(place)
        yield place, value, "environment" if variable else "file" if place in given else "default", variable

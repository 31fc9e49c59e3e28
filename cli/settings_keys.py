"""What settings there are, by name: what stands at a key, and which one was meant by a name that is none."""

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from cli.settings import Settings

Place = tuple[str, ...]
"""("stores", "mysql", "tls")"""
ANY = "NAME"
"""Stands for a name that is free: a peer's."""
CLOSE = 0.6


def dotted(place: Place) -> str:
    return ".".join(place)


def field_at(place: Place) -> FieldInfo | None:
    """None where there is no such setting, or the place is a free name's."""
    table = table_at(place[:-1])
    return table.model_fields.get(place[-1]) if place and isinstance(table, type) else None


def example_at(place: Place) -> Any:
    """A value of the form that it needs; None where none is known."""
    found = field_at(place)
    return found.examples[0] if found is not None and found.examples else None


def table_at(place: Place) -> type[pydantic.BaseModel] | None:
    """The table with that name, if it is one."""
    found: Any = Settings
    for name in place:
        if isinstance(found, type) and issubclass(found, pydantic.BaseModel):
            field = found.model_fields.get(name)
            found = _inner(field.annotation) if field is not None else None
        else:  # a table of tables with free names
            found = _inner(get_args(found)[1]) if get_origin(found) is dict else None
    return found if isinstance(found, type) and issubclass(found, pydantic.BaseModel) else None


def nearest(place: Place) -> str:
    """The setting that may have been meant; "" where none comes near."""
    table = table_at(place[:-1])
    siblings = list(table.model_fields) if table else []
    if close := difflib.get_close_matches(place[-1], siblings, 1, CLOSE):
        return dotted((*place[:-1], close[0]))
    if table_at(place[:-1]) is None and len(place) > 1 and (close := nearest(place[:-1]).split(".")) != [""]:
        inner = table_at(tuple(close))
        names = difflib.get_close_matches(place[-1], list(inner.model_fields) if inner else [], 1, CLOSE)
        return dotted((*close, *names))
    leaves = {leaf[-1]: leaf for leaf in leaves_of(Settings)}
    elsewhere = difflib.get_close_matches(place[-1], list(leaves), 1, 0.8)
    return dotted(leaves[elsewhere[0]]) if elsewhere else ""


def leaves_of(table: type[pydantic.BaseModel], place: Place = ()) -> Iterator[Place]:
    """Every setting below a table; for free names ANY stands."""
    for name, field in table.model_fields.items():
        inner = _inner(field.annotation)
        if get_origin(inner) is dict:
            yield from leaves_of(_inner(get_args(inner)[1]), (*place, name, ANY))
        elif isinstance(inner, type) and issubclass(inner, pydantic.BaseModel):
            yield from leaves_of(inner, (*place, name))
        else:
            yield (*place, name)


def leaves_in(values: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is no table, with its place."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves_in(value, (*place, name))
        else:
            yield (*place, name), value


def _inner(annotation: Any) -> Any:
    """Without "or None"."""
    if get_origin(annotation) in (Union, UnionType):
        return next(one for one in get_args(annotation) if one is not type(None))
    return annotation

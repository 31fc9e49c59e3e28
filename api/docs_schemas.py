"""Schemas of the description as HTML: the members of a body or an answer, and what each may be."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

import msgspec

from api.schemas import Schema

_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
}


def section(schemas: Mapping[str, Schema]) -> str:
    """All that have a name; answers and bodies link to them."""
    return "".join(
        f'<details id="{anchor(name)}"><summary><span class="path">{escape(name)}</span></summary>'
        f"{prose(schema.get('description', ''), 'p')}{members(schema)}</details>"
        for name, schema in sorted(schemas.items())
    )


def anchor(name: str) -> str:
    """Of a schema with a name."""
    return f"schema-{escape(name)}"


def members(schema: Schema) -> str:
    """The members of an object, a table for each kind that it may be; of anything else what it is."""
    shapes = schema.get("oneOf") or schema.get("anyOf") or [schema]
    return "".join(_table(one) if one.get("properties") else f"<p>{kind(one)}</p>" for one in shapes)


def _table(schema: Schema) -> str:
    required = schema.get("required", ())
    rows = (
        f"<tr><td><code>{escape(name)}</code><td>{kind(member)}{', required' if name in required else ''}"
        f"<td>{prose(_about(member))}{_inner(member)}"
        for name, member in schema["properties"].items()
    )
    return f"<table>{''.join(rows)}</table>"


def _inner(member: Schema) -> str:
    """The tables of objects that have no name of their own, however deep they stand in lists and among others."""
    if member.get("properties"):
        return _table(member)
    below = (*([member["items"]] if "items" in member else []), *member.get("anyOf", ()), *member.get("oneOf", ()))
    return "".join(map(_inner, below))


def _about(member: Schema) -> str:
    notes = [member.get("description", ""), *_bounds(member)]
    for one in (*member.get("anyOf", ()), member.get("items", {})):
        notes += [one.get("description", ""), *_bounds(one)]
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _bounds(schema: Schema) -> Iterator[str]:
    if "pattern" in schema:
        yield f"`{schema['pattern']}`"
    for name, words in _BOUNDS.items():
        if name in schema:
            yield words.format(schema[name])


def kind(schema: Schema) -> str:
    """What a value may be, in a word or a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{anchor(name)}"><code>{escape(name)}</code></a>'
    for several, joint in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if several in schema:
            return joint.join(_each(schema[several]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"<code>{escape(_json(one))}</code>" for one in schema.get("enum", [schema.get("const")]))
    found = schema.get("type", "anything")
    if found == "array":
        return f"list of {kind(schema.get('items', {}))}"
    values = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    kinds = [one for one in values if isinstance(one, dict)]
    if found == "object" and not schema.get("properties") and kinds:
        return f"map of {' or '.join(_each(kinds))}"
    return escape(str(found))


def _each(schemas: Iterable[Schema]) -> dict[str, None]:
    return dict.fromkeys(map(kind, schemas))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def prose(text: str, tag: str = "") -> str:
    """With what stands between backticks as code; nothing for nothing."""
    if not text:
        return ""
    parts = [escape(part) for part in text.split("`")]
    shown = "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
    return f"<{tag}>{shown}</{tag}>" if tag else shown

"""OpenAPI 3.1 of the public API, from the registry of actions and the table of reads: nothing is written twice."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import msgspec
import pydantic
from aiohttp import web

from api import problems
from api.operations import Place, Read, grouped, place_of_action, place_of_read
from api.position import At
from core import errors, limits
from core.action import Action

_ALWAYS: tuple[type[errors.PlanBError], ...] = (errors.Invalid, errors.ForbiddenHeader, errors.Overloaded)
_WITH_TOKEN = (errors.Unauthenticated, errors.ClockAhead)
_OF_WRITES = (
    errors.KeyReused,
    errors.LogUnavailable,
    errors.OutcomeUnknown,
    errors.ClockRefused,
    errors.NotServing,
    errors.LaneLost,
    errors.StoreUnavailable,
)
_HEADERS = ("XClock", "XCursor")
_WRITE_HEADERS = ("IdempotencyKey", "Prefer")
_CURSOR = {"type": "string", "description": "Where the client stands: the cursor of the last frame or page it has"}


def document(actions: Iterable[type[Action]], reads: Sequence[Read]) -> dict[str, Any]:
    """The whole document."""
    listed = list(actions)
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), group in grouped(listed, "public").items():
        paths.setdefault(path, {})[method.lower()] = _writes(group)
    sends = next((action for action in listed if action.name == "message.send"), None)
    if sends is not None:
        paths.setdefault(f"{sends.route.path}/batch", {})["post"] = _batch(sends)
    for read in reads:
        paths.setdefault(read.path, {})[read.method.lower()] = _read(read)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plan B",
            "version": "1",
            "description": "Instant messaging over several datacenters. Every datacenter takes every call; ids are "
            "strings of digits; errors are problem documents (RFC 9457) with a stable `code`.",
        },
        "paths": dict(sorted(paths.items())),
        "components": _components(),
        "security": [{"token": []}],
    }


def _writes(group: Sequence[type[Action]]) -> dict[str, Any]:
    """One operation, for all actions that share its method and path."""
    first = group[0]
    places = [place_of_action(action) for action in group]
    schemas = [_schema(action.Request) for action in group]
    bodies = [_body(action, place, schema) for action, place, schema in zip(group, places, schemas, strict=True)]
    failures = {*_ALWAYS, *_WITH_TOKEN, *_OF_WRITES, errors.TooLarge}
    for action in group:
        failures |= {error for error in action.errors if issubclass(error, errors.PlanBError)}
    if failures & {errors.NotFound, errors.Forbidden}:
        failures.add(errors.NotYetHere)
    examples = {action.name: {"value": _example(action)} for action in group if action.example}
    found: dict[str, Any] = {
        "operationId": "-or-".join(action.name for action in group),
        "summary": " / ".join(action.summary for action in group),
        "tags": [first.name.split(".")[0]],
        "x-consistency": {action.name: action.consistency for action in group},
        "x-durability": {action.name: action.durability for action in group},
        "parameters": _parameters(places, schemas) + [_header(name) for name in (*_HEADERS, *_WRITE_HEADERS)],
        "responses": _responses(failures, "WriteAnswer", {"id": "1234567890123456789"}),
    }
    if any(place.body for place in places):
        schema = bodies[0] if len(bodies) == 1 else {"oneOf": bodies}
        content: dict[str, Any] = {"schema": schema} | ({"examples": examples} if examples else {})
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    return found


def _batch(send: type[Action]) -> dict[str, Any]:
    item = _schema(send.Request)
    key = {"type": "string", "maxLength": limits.KEY_CHARS_MAX, "description": "As Idempotency-Key, of this message"}
    item["properties"] = {"key": key, **item["properties"]}
    messages = {"type": "array", "items": item, "minItems": 1, "maxItems": limits.BATCH_MESSAGES_MAX}
    schema = {
        "type": "object",
        "properties": {"messages": messages},
        "required": ["messages"],
        "additionalProperties": False,
    }
    example = {"messages": [{"key": "b7e1", **send.example}]}
    return {
        "operationId": "message.send.batch",
        "summary": "Send up to 100 messages, in order, each with its own outcome",
        "tags": ["message"],
        "x-consistency": {send.name: send.consistency},
        "parameters": [_header(name) for name in (*_HEADERS, "Prefer")],
        "requestBody": {
            "required": True,
            "description": f"At most {limits.BODY_BYTES_MAX} bytes of JSON: a full batch fits, also with every "
            "character that is not ASCII escaped",
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": _responses({*_ALWAYS, *_WITH_TOKEN, errors.TooLarge}, "BatchAnswer", None),
    }


def _read(read: Read) -> dict[str, Any]:
    place, schema = place_of_read(read), _schema(read.Request)
    failures = {*_ALWAYS, errors.StoreUnavailable, *read.errors, *(() if read.public else _WITH_TOKEN)}
    if failures & {errors.NotFound, errors.Forbidden}:
        failures.add(errors.NotYetHere)
    found: dict[str, Any] = {
        "operationId": read.name,
        "summary": read.summary,
        "tags": [read.path.split("/")[2]],
        "x-consistency": {read.name: read.consistency},
        "parameters": _parameters([place], [schema]) + [_header(name) for name in _HEADERS if not read.public],
        "responses": _responses(failures, "Answer", read.example_answer),
    }
    if read.public:
        found["security"] = []
    if place.body:
        content = {"schema": _only(schema, place.body)} | ({"example": read.example} if read.example else {})
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    return found


def _example(action: type[Action]) -> dict[str, Any]:
    return dict(action.example) | ({"cursor": "PC1.…"} if action.needs_position else {})


def _schema(request: type[pydantic.BaseModel]) -> dict[str, Any]:
    schema = request.model_json_schema(by_alias=True)
    schema.pop("title", None)
    for member in schema.setdefault("properties", {}).values():
        member.pop("title", None)
    inlined: dict[str, Any] = _inlined(schema, schema.pop("$defs", {}))
    return inlined


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references into itself: it becomes a part of this document, where they would lead nowhere."""
    if isinstance(part, list):
        return [_inlined(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inlined(definitions[part["$ref"].rpartition("/")[2]], definitions)
    named = {"ge": "minimum", "le": "maximum"}
    return {named.get(name, name): _inlined(value, definitions) for name, value in part.items()}


def _only(schema: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The part of an object's schema that has these members."""
    found = {
        "type": "object",
        "properties": {name: member for name, member in schema["properties"].items() if name in names},
        "additionalProperties": False,
    }
    required = [name for name in schema.get("required", ()) if name in names]
    return found | ({"required": required} if required else {})


def _body(action: type[Action], place: Place, schema: Mapping[str, Any]) -> dict[str, Any]:
    found = _only(schema, place.body)
    if action.needs_position:
        found["properties"] = {**found["properties"], "cursor": _CURSOR, "at": _schema(At)}
    return found | {"title": action.name}


def _parameters(places: Sequence[Place], schemas: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place, schema in zip(places, schemas, strict=True):
        for where, names in (("path", place.path), ("query", place.query)):
            for name in sorted(names):
                member = schema["properties"].get(name, {"type": "string"})
                known = found.get((where, name))
                if known is None:
                    required = where == "path" or name in schema.get("required", ())
                    found[where, name] = {"name": name, "in": where, "required": required, "schema": member}
                elif known["schema"] != member:
                    known["schema"] = {"oneOf": [known["schema"], member]}
    return list(found.values())


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{name}"}


def _responses(
    failures: Iterable[type[errors.PlanBError]], answer: str, example: Mapping[str, Any] | None
) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{answer}"}}
    if example is not None:
        content["example"] = dict(example)
    found: dict[str, Any] = {
        "200": {
            "description": "Done",
            "headers": {"X-Clock": {"$ref": "#/components/headers/XClock"}},
            "content": {"application/json": content},
        }
    }
    by_status: dict[int, list[type[errors.PlanBError]]] = {}
    for error in sorted(failures, key=lambda error: error.code):
        by_status.setdefault(error.status, []).append(error)
    for status, kinds in sorted(by_status.items()):
        described = "; ".join(f"`{error.code}`: {error.title}" for error in kinds)
        found[str(status)] = {
            "description": described,
            "x-codes": [error.code for error in kinds],
            "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return found


def _components() -> dict[str, Any]:
    text = {"type": "string"}
    problem = {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text | {"examples": ["urn:planb:problem:not_found"]},
            "title": text,
            "status": {"type": "integer"},
            "code": text | {"enum": sorted({error.code for error in problems.all_errors()})},
            "detail": text,
            "request": text | {"description": "Names the request in the server's log"},
            "retry_after_s": {"type": "integer", "description": "As the header Retry-After"},
            "errors": {
                "type": "array",
                "items": {"type": "object", "properties": {"field": text, "problem": text}},
            },
        },
    }
    id = text | {"pattern": "^[0-9]{1,19}$", "description": "The event"}
    return {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "From POST /v1/login"}},
        "schemas": {
            "Problem": problem,
            "Answer": {"type": "object"},
            "WriteAnswer": {"type": "object", "required": ["id"], "properties": {"id": id}},
            "BatchAnswer": {
                "type": "object",
                "required": ["results"],
                "properties": {
                    "results": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"id": id, "problem": problem}},
                    }
                },
            },
        },
        "headers": {
            "XClock": {
                "description": "The greatest id applied here, signed: send back the last you got",
                "schema": text,
            }
        },
        "parameters": {
            "XClock": _parameter("X-Clock", "The last X-Clock that you got, from any datacenter"),
            "XCursor": _parameter("X-Cursor", "Your cursor; what you have seen elsewhere is then 409, not 404"),
            "IdempotencyKey": _parameter(
                "Idempotency-Key", "A UUID of yours; without one a repeated call is a second write"
            ),
            "Prefer": _parameter("Prefer", "durability=local or durability=remote"),
        },
    }


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def page(openapi: Mapping[str, Any]) -> str:
    """A plain list of the operations, complete without any other file."""
    rows = []
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            note = " ".join(operation["x-consistency"].values())
            cells = (f"<code>{method.upper()} {escape(path)}</code>", escape(operation["summary"]), escape(note))
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Plan B API</title>'
        "<style>body{font:16px sans-serif;margin:2em}td{padding:.4em .8em;vertical-align:top}</style>"
        '<h1>Plan B API</h1><p>The full description is <a href="/openapi.json">/openapi.json</a>.</p>'
        "<table><tr><th>Call</th><th>What it does</th><th>How it stays consistent</th></tr>"
        + "".join(rows)
        + "</table></html>"
    )


def add_routes(app: web.Application, openapi: Mapping[str, Any]) -> None:
    """Serves the document, encoded once, and the page."""
    encoded, html = msgspec.json.encode(openapi), page(openapi)

    async def json(_: web.Request) -> web.Response:
        return web.Response(body=encoded, content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app.router.add_get("/openapi.json", json)
    app.router.add_get("/docs", docs)

"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) of requests and answers, from their classes."""

from collections.abc import Mapping
from typing import Any

import pydantic
from pydantic.json_schema import models_json_schema

from api import answers, problems
from api.answers import Answer
from api.operations import Place
from api.position import At
from core import limits
from core.action import Action

Schema = dict[str, Any]
_TEXT = {"type": "string"}
_CURSOR = {"type": "string", "description": "Where the client stands: the cursor of the last page that it has"}


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# -- requests


def of_request(request: type[pydantic.BaseModel]) -> Schema:
    """Of path, query and body together, without references: parts of it go to different places."""
    schema = request.model_json_schema(by_alias=True)
    schema.pop("title", None)
    for member in schema.setdefault("properties", {}).values():
        member.pop("title", None)
    inlined: Schema = _inlined(schema, schema.pop("$defs", {}))
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
    # Which alternative a `kind` means, each of them says itself; a discriminator's mapping says where they stood.
    members = ((name, value) for name, value in part.items() if name != "discriminator")
    return {named.get(name, name): _inlined(value, definitions) for name, value in members}


def only(schema: Mapping[str, Any], names: frozenset[str]) -> Schema:
    """The part of an object's schema that has these members."""
    found: Schema = {
        "type": "object",
        "properties": {name: member for name, member in schema["properties"].items() if name in names},
        "additionalProperties": False,
    }
    required = [name for name in schema.get("required", ()) if name in names]
    return found | ({"required": required} if required else {})


def body_of(action: type[Action], place: Place, schema: Mapping[str, Any]) -> Schema:
    found = only(schema, place.body)
    for name, value in action.route.when:
        if name not in action.route.query:  # it tells this action from others of its path
            found["properties"] = {name: {"const": value}} | found["properties"]
            found["required"] = [name, *(one for one in found.get("required", ()) if one != name)]
    if action.needs_position:
        found["properties"] = {**found["properties"], "cursor": _CURSOR, "at": of_request(At)}
    return found | {"title": action.name}


def batch(send: type[Action]) -> Schema:
    """The body of POST /v1/messages/batch."""
    item = of_request(send.Request)
    key = {"type": "string", "maxLength": limits.KEY_CHARS_MAX, "description": "As Idempotency-Key, of this message"}
    item["properties"] = {"key": key, **item["properties"]}
    messages = {"type": "array", "items": item, "minItems": 1, "maxItems": limits.BATCH_MESSAGES_MAX}
    return {
        "type": "object",
        "properties": {"messages": messages},
        "required": ["messages"],
        "additionalProperties": False,
    }


# -- answers


def written(action: type[Action]) -> type[Answer]:
    """What a write answers."""
    if not action.answer:
        return answers.Written
    name = "".join(word.title() for word in action.name.split(".")) + "Answer"
    fields: dict[str, Any] = {name: (kind, ...) for name, kind in action.answer.items()}
    return pydantic.create_model(name, __base__=answers.Written, **fields)


def components(models: set[type[Answer]]) -> dict[str, Schema]:
    """By name, with everything that they refer to."""
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema(
        [(model, "validation") for model in ordered], by_alias=True, ref_template="#/components/schemas/{model}"
    )
    plain: dict[str, Schema] = _untitled(found["$defs"])
    return plain


def _untitled(part: Any) -> Any:
    """Without the titles that are the names again, and the defaults of members that may be absent."""
    if isinstance(part, list):
        return [_untitled(one) for one in part]
    if not isinstance(part, dict):
        return part
    dropped = {name for name in ("title", "default") if not isinstance(part.get(name), dict)}
    return {name: _untitled(value) for name, value in part.items() if name not in dropped}


def problem() -> Schema:
    """Of every error."""
    return {
        "type": "object",
        "description": "RFC 9457. `code` is stable; docs/errors.md explains each",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": _TEXT | {"pattern": "^urn:planb:problem:[a-z_]+$"},
            "title": _TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": _TEXT | {"enum": sorted({error.code for error in problems.all_errors()})},
            "detail": _TEXT | {"description": "For people"},
            "request": _TEXT | {"description": "Names the request in the server's log"},
            "retry_after_s": {"type": "integer", "minimum": 1, "description": "As the header Retry-After"},
            "made": _TEXT | {"description": "The chat, session or link that an earlier call under this key made"},
            "errors": {
                "type": "array",
                "description": "Which fields are at fault, where fields are",
                "items": {
                    "type": "object",
                    "required": ["field", "problem"],
                    "properties": {"field": _TEXT, "problem": _TEXT},
                },
            },
        },
    }


def batch_answer() -> Schema:
    """`results[i]` is the outcome of message i."""
    refused = {"type": "object", "required": ["problem"], "properties": {"problem": reference("Problem")}}
    return {
        "type": "object",
        "required": ["results"],
        "properties": {"results": {"type": "array", "items": {"anyOf": [reference("BatchDone"), refused]}}},
    }

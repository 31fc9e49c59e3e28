"""What the operations of the description share: headers, parameters, failures, tags."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api import problems, schemas
from api.schemas import Schema, reference
from core import errors, limits

INFO = {
    "title": "Plan B",
    "version": "1",
    "description": "Instant messaging over several datacenters. Every datacenter takes every call; ids are strings of "
    "digits; errors are problem documents (RFC 9457) with a stable `code`. A path that is not here is `404 not_found`, "
    "another method of one that is here `405 method_not_allowed`. A query parameter or a member of a body that is not "
    "here is `400 invalid`. What a client must do besides: docs/client-protocol.md.",
}
_TAGS = {
    "message": "Sending messages, changing them, reading histories",
    "dialog": "My list of conversations, and what I set in each",
    "chat": "Groups (up to 20 members, each with every message in his own updates) and supergroups (any number of "
    "members, who share one list of updates)",
    "member": "Who is in a chat",
    "reaction": "Reactions to messages",
    "user": "Profiles and presence; contacts, and whom one has blocked",
    "file": "Bytes that messages name",
    "session": "Logging in and out, and devices that are pushed to",
    "updates": "What happened, by calls and over the websocket",
    "operation": "Of one process; without a token",
}
_TEXT = {"type": "string"}


def tags(used: set[str]) -> list[Schema]:
    return [{"name": name, "description": _TAGS[name]} for name in sorted(used, key=list(_TAGS).index)]


# -- answers


def done(schema: Schema, example: Mapping[str, Any] | None, headers: Sequence[str] = ()) -> Schema:
    """The 200 of a call."""
    content: Schema = {"schema": schema} | ({"example": dict(example)} if example is not None else {})
    return {
        "description": "Done",
        "headers": {_HEADERS[name][0]: _header(name) for name in ("XClock", *headers)},
        "content": {"application/json": content},
    }


def failures(kinds: Iterable[type[errors.PlanBError]]) -> Schema:
    """status -> response, for each status that one of these errors has."""
    by_status: dict[int, list[type[errors.PlanBError]]] = {}
    for error in sorted(set(kinds), key=lambda error: error.code):
        by_status.setdefault(error.status, []).append(error)
    return {str(status): _failure(status, group) for status, group in sorted(by_status.items())}


def _failure(status: int, group: Sequence[type[errors.PlanBError]]) -> Schema:
    names = ["RetryAfter"] if any(problems.retry_after_s(error()) for error in group) else []
    names += ["WWWAuthenticate"] if status == 401 else []
    codes = [error.code for error in group]
    narrowed = {"allOf": [reference("Problem"), {"properties": {"code": {"enum": codes}}}]}
    example = {**problems.member(group[0]()), "request": "0f3a5c-1"}
    found: Schema = {
        "description": "; ".join(f"`{error.code}`: {error.title}" for error in group),
        "x-codes": codes,
        "content": {problems.CONTENT_TYPE: {"schema": narrowed, "example": example}},
    }
    return found | ({"headers": {_HEADERS[name][0]: _header(name) for name in names}} if names else {})


# -- components

_HEADERS: dict[str, tuple[str, str, Schema]] = {
    "XClock": ("X-Clock", "The greatest id applied here, signed: send back the greatest that you got", _TEXT),
    "PreferenceApplied": (
        "Preference-Applied",
        "The durability that was reached; there if one was preferred, or if it is `remote`",
        _TEXT | {"enum": ["durability=local", "durability=remote"]},
    ),
    "IdempotencyReplayed": (
        "Idempotency-Replayed",
        "An earlier call under this key had done it: this is the same answer",
        _TEXT | {"enum": ["true"]},
    ),
    "RetryAfter": (
        "Retry-After",
        "Seconds, for those of these errors after which the same request may succeed",
        {"type": "integer", "minimum": 1},
    ),
    "WWWAuthenticate": ("WWW-Authenticate", "`Bearer`", _TEXT),
    "CacheControl": ("Cache-Control", "`no-store`", _TEXT),
}
_PARAMETERS: dict[str, tuple[str, str, Schema]] = {
    "XClock": ("X-Clock", "The greatest X-Clock that you got, from any datacenter", _TEXT | {"pattern": r"^PX1\."}),
    "XCursor": (
        "X-Cursor",
        "Your cursor; what you have seen elsewhere and is not here yet is then 409, not 403 or 404",
        _TEXT | {"pattern": r"^PC1\."},
    ),
    "IdempotencyKey": (
        "Idempotency-Key",
        "Names one intention, best a UUID; without one a repeated call is a second write",
        _TEXT | {"pattern": rf"^[!-~]{{1,{limits.KEY_CHARS_MAX}}}$"},
    ),
    "Prefer": (
        "Prefer",
        "Whether to wait for another datacenter (RFC 7240; other preferences are ignored)",
        _TEXT | {"examples": ["durability=local", "durability=remote"]},
    ),
}


def parameter(name: str) -> Schema:
    return {"$ref": f"#/components/parameters/{name}"}


def _header(name: str) -> Schema:
    return {"$ref": f"#/components/headers/{name}"}


def components(answers: Mapping[str, Schema]) -> Schema:
    return {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "From POST /v1/login"},
            "ticket": {
                "type": "apiKey",
                "in": "query",
                "name": "ticket",
                "description": "For the websocket alone, once: from POST /v1/stream/ticket",
            },
        },
        "schemas": {"Problem": schemas.problem(), "BatchAnswer": schemas.batch_answer(), **answers},
        "headers": {
            name: {"description": text, "required": name == "XClock", "schema": schema}
            for name, (_, text, schema) in _HEADERS.items()
        },
        "parameters": {
            name: {"name": header, "in": "header", "required": False, "description": text, "schema": schema}
            for name, (header, text, schema) in _PARAMETERS.items()
        },
    }

"""OpenAPI 3.1 of the public API, from the registry of actions and the table of reads: nothing is written twice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api import openapi_parts as parts
from api import schemas
from api.answer_examples import EXAMPLES
from api.answers import Answer, BatchDone
from api.operations import Other, Place, Read, grouped, place_of_action, place_of_read
from api.problems import TooSlow
from api.schemas import Schema, reference
from core import errors, limits
from core.action import Action

_ID = "1234567890123456789"
_ALWAYS: tuple[type[errors.PlanBError], ...] = (
    errors.PlanBError,
    errors.Invalid,
    errors.ForbiddenHeader,
    errors.NotServing,
    errors.Overloaded,
    errors.StoreUnavailable,
    errors.TooLarge,
    TooSlow,
)
_WITH_TOKEN = (errors.Unauthenticated, errors.TokenExpired, errors.ClockAhead, errors.TooMany)
_OF_WRITES = (
    errors.KeyReused,
    errors.LogUnavailable,
    errors.OutcomeUnknown,
    errors.ClockRefused,
    errors.LaneLost,
    errors.LeaseLost,
)
_OF_WRITE_ANSWERS = ("PreferenceApplied", "IdempotencyReplayed")


def document(
    actions: Iterable[type[Action]], reads: Sequence[Read], others: Sequence[Other] = (), dc: str = ""
) -> Schema:
    """The whole document. `dc` is the datacenter that answers it."""
    listed = list(actions)
    paths: dict[str, Schema] = {}
    answers: set[type[Answer]] = set()
    for (method, path), group in grouped(listed, "public").items():
        paths.setdefault(path, {})[method.lower()] = _writes(group, answers)
    sends = next((action for action in listed if action.name == "message.send"), None)
    if sends is not None:
        paths.setdefault(f"{sends.route.path}/batch", {})["post"] = _batch(sends)
        answers.add(BatchDone)
    for read in reads:
        paths.setdefault(read.path, {})[read.method.lower()] = _read(read)
        answers.add(read.Answer)
    more: dict[str, Schema] = {}
    for other in others:
        responses = {**other.operation["responses"], **parts.failures(other.errors)}
        paths.setdefault(other.path, {})[other.method.lower()] = {**other.operation, "responses": responses}
        more |= other.schemas
    return {
        "openapi": "3.1.0",
        "info": parts.INFO,
        "servers": [{"url": "/", "description": f"The datacenter that answered this document{dc and ': ' + dc}"}],
        "tags": parts.tags({tag for group in paths.values() for one in group.values() for tag in one["tags"]}),
        "paths": dict(sorted(paths.items())),
        "components": parts.components(schemas.components(answers) | more),
        "security": [{"token": []}],
    }


def failures_of(declared: Iterable[type[Exception]], *, token: bool, writes: bool) -> set[type[errors.PlanBError]]:
    """Everything that such a call can answer besides what it is for."""
    found = {*_ALWAYS, *(_WITH_TOKEN if token else (errors.ClockAhead,)), *(_OF_WRITES if writes else ())}
    found |= {error for error in declared if issubclass(error, errors.PlanBError)}
    if _depends_on_the_cursor(found):
        found.add(errors.NotYetHere)
    return found


def _depends_on_the_cursor(failures: set[type[errors.PlanBError]]) -> bool:
    """Whether X-Cursor changes an answer: what its client has seen elsewhere is 409 then."""
    return bool(failures & {errors.NotFound, errors.Forbidden})


def _headers(failures: set[type[errors.PlanBError]], *, positioned: bool, writes: bool) -> list[Schema]:
    names = ["XClock"]
    names += ["XCursor"] if positioned or _depends_on_the_cursor(failures) else []
    names += ["IdempotencyKey", "Prefer"] if writes else []
    return [parts.parameter(name) for name in names]


def _writes(group: Sequence[type[Action]], answers: set[type[Answer]]) -> Schema:
    """One operation, for all actions that share its method and path."""
    places = [place_of_action(action) for action in group]
    requests = [schemas.of_request(action.Request) for action in group]
    models = {schemas.written(action).__name__: schemas.written(action) for action in group}
    answers |= set(models.values())
    failures = failures_of((error for action in group for error in action.errors), token=True, writes=True)
    positioned = any(action.needs_position for action in group)
    shapes = [reference(name) for name in models]
    found: Schema = {
        "operationId": "-or-".join(action.name for action in group),
        "summary": " / ".join(action.summary for action in group),
        "tags": [_TAGS.get(group[0].name.partition(".")[0], group[0].name.partition(".")[0])],
        "x-consistency": {action.name: action.consistency for action in group},
        "x-durability": {action.name: action.durability for action in group},
        "parameters": _parameters(group, places, requests) + _headers(failures, positioned=positioned, writes=True),
        "responses": {
            "200": parts.done(
                shapes[0] if len(shapes) == 1 else {"anyOf": shapes},
                {"id": _ID, **{name: _EXAMPLE_MEMBERS[name] for action in group for name in action.answer}},
                _OF_WRITE_ANSWERS,
            ),
            **parts.failures(failures),
        },
    }
    if any(place.body for place in places):
        bodies = [
            schemas.body_of(action, place, request)
            for action, place, request in zip(group, places, requests, strict=True)
        ]
        examples = {action.name: {"value": _example(action)} for action in group if action.example}
        content: Schema = {"schema": bodies[0] if len(bodies) == 1 else {"oneOf": bodies}}
        content |= {"examples": examples} if examples else {}
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    return found


_EXAMPLE_MEMBERS = {
    "conversation": "D1234567890123456700",
    "chat": "G1234567890123450881",
    "user": "Uada",
    "scheduled": "S123",
    "invite": "i123",
    "link": "PL1.lbRHMTIz.c2lnbmF0dXJl",
    "joined": True,
}


def _batch(send: type[Action]) -> Schema:
    failures = failures_of((), token=True, writes=False)
    example = {"messages": [{"key": "b7e1", **send.example}]}
    done = {"results": [{"id": _ID, "conversation": "D1234567890123456700", "durability": "local"}]}
    content = {"schema": schemas.batch(send), "example": example}
    return {
        "operationId": "message.send.batch",
        "summary": "Send up to 100 messages, in order, each with its own outcome",
        "tags": ["message"],
        "x-consistency": {send.name: send.consistency},
        "x-durability": {send.name: send.durability},
        "parameters": [parts.parameter(name) for name in ("XClock", "XCursor", "Prefer")],
        "requestBody": {
            "required": True,
            "description": f"At most {limits.BODY_BYTES_MAX} bytes of JSON: a full batch fits, also with every "
            "character that is not ASCII escaped",
            "content": {"application/json": content},
        },
        "responses": {
            "200": parts.done(reference("BatchAnswer"), done, _OF_WRITE_ANSWERS[:1]),
            **parts.failures(failures),
        },
    }


def _read(read: Read) -> Schema:
    place, schema = place_of_read(read), schemas.of_request(read.Request)
    failures = failures_of(read.errors, token=not read.public, writes=read.writes)
    found: Schema = {
        "operationId": read.name,
        "summary": read.summary,
        "tags": [_TAGS.get(read.name.partition(".")[0], read.name.partition(".")[0])],
        "x-consistency": {read.name: read.consistency},
        "parameters": _parameters((), [place], [schema]) + _headers(failures, positioned=False, writes=read.writes),
        "responses": {
            "200": parts.done(reference(read.Answer.__name__), EXAMPLES.get(read.Answer), ("CacheControl",)),
            **parts.failures(failures),
        },
    }
    if read.public:
        found["security"] = []
    if place.body:
        content = {"schema": schemas.only(schema, place.body)} | ({"example": read.example} if read.example else {})
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    return found


_TAGS = {
    "group": "chat",
    "supergroup": "chat",
    "block": "user",
    "blocks": "user",
    "contact": "user",
    "handle": "user",
    "scheduled": "message",
    "device": "session",
    "devices": "session",
    "contacts": "user",
    "dialogs": "dialog",
    "draft": "dialog",
    "login": "session",
    "logout": "session",
    "me": "user",
    "members": "member",
    "messages": "message",
    "mentions": "message",
    "presence": "user",
    "replies": "message",
    "bans": "member",
    "invite": "member",
    "invites": "member",
    "request": "member",
    "requests": "member",
    "sessions": "session",
    "token": "session",
    "chat": "chat",
    "state": "updates",
}
"""Tag of an operation, by the first part of its name, where that is not the tag itself."""


def _example(action: type[Action]) -> dict[str, Any]:
    return dict(action.example) | ({"cursor": "PC1.…"} if action.needs_position else {})


def _parameters(
    group: Sequence[type[Action]], places: Sequence[Place], requests: Sequence[Mapping[str, Any]]
) -> list[Schema]:
    selecting: dict[str, list[str]] = {}
    for action in group:
        for name, value in action.route.when:
            selecting.setdefault(name, []).append(value)
    found: dict[tuple[str, str], Schema] = {}
    for place, schema in zip(places, requests, strict=True):
        for where, names in (("path", place.path), ("query", place.query)):
            for name in sorted(names):
                chosen = {"type": "string", "enum": selecting.get(name)}
                member = schema["properties"].get(name, chosen if name in selecting else {"type": "string"})
                known = found.get((where, name))
                if known is None:
                    required = where == "path" or name in schema.get("required", ()) or name in selecting
                    found[where, name] = {"name": name, "in": where, "required": required, "schema": member}
                elif known["schema"] != member:
                    known["schema"] = {"oneOf": [known["schema"], member]}
    return list(found.values())

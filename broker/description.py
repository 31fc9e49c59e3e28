"""How OpenAPI describes the stream and its ticket. docs/websocket.md is the contract; this is its frames as schemas."""

from typing import Any

from broker.frames import Close
from core import limits
from core.errors import (
    ForbiddenHeader,
    Invalid,
    NotServing,
    Overloaded,
    PlanBError,
    StoreUnavailable,
    TokenExpired,
    TooMany,
    Unauthenticated,
)

Json = dict[str, Any]
Described = tuple[str, str, Json, tuple[type[PlanBError], ...], Json]
"""Method, path, operation without its errors, errors, components."""

_TEXT: Json = {"type": "string"}
_PTS: Json = {"type": "integer", "minimum": 0}
_CHANNEL: Json = {"type": "string", "pattern": "^C[0-9]{1,19}$"}
_CHANNELS: Json = {"type": "object", "additionalProperties": _PTS, "description": "Supergroup -> pts of its list"}
_LIFE: Json = {"dc": _TEXT, "epoch": _PTS}
_ERRORS = (
    PlanBError,
    ForbiddenHeader,
    Invalid,
    NotServing,
    Overloaded,
    StoreUnavailable,
    TokenExpired,
    Unauthenticated,
)
_STREAM_ERRORS = (*_ERRORS, TooMany)


def described() -> list[Described]:
    """Both calls."""
    return [
        ("GET", "/v1/stream", _stream(), _STREAM_ERRORS, _frames()),
        ("POST", "/v1/stream/ticket", _ticket(), _ERRORS, {}),
    ]


def _stream() -> Json:
    codes = ", ".join(f"{code.value} {code.name.lower()}" for code in Close)
    ticket = {"name": "ticket", "in": "query", "required": False, "schema": _TEXT}
    return {
        "operationId": "stream",
        "summary": "The websocket: tells what happened, and takes nothing but a hello and pings",
        "description": "The token comes in the Authorization header, as a ticket, or in the hello, which is the first "
        f"frame of the client and is due within {limits.HELLO_S_MAX:g} s. Frames are JSON texts: `ClientFrame` one "
        f"way, `ServerFrame` the other. Close codes: {codes}.",
        "tags": ["updates"],
        "security": [{"token": []}, {"ticket": []}, {}],
        "x-consistency": {
            "stream": "A hint: what it loses is found by pts and fetched with POST /v1/updates. Each list comes in the "
            "order of its pts; an update shows the thing as it is when it is sent."
        },
        "x-websocket": {"sends": _reference("ServerFrame"), "receives": _reference("ClientFrame")},
        "parameters": [ticket | {"description": "From POST /v1/stream/ticket; a token is never put into a URL"}],
        "responses": {"101": {"description": "Switched to the websocket protocol (RFC 6455)"}},
    }


def _ticket() -> Json:
    answer = _object(ticket=_TEXT, expires_s={"type": "integer", "minimum": 1})
    content = {"schema": answer, "example": {"ticket": "q7Yc…", "expires_s": limits.TICKET_S}}
    return {
        "operationId": "stream.ticket",
        "summary": "A ticket for the websocket, for clients that can set no header on it",
        "tags": ["updates"],
        "x-consistency": {"stream.ticket": "Good once, in the process that issued it."},
        "responses": {"201": {"description": "Made", "content": {"application/json": content}}},
    }


def _frames() -> Json:
    position = _object(**_LIFE, pts=_PTS, channels=_CHANNELS) | {"additionalProperties": False}
    position["required"].remove("channels")
    hello = _object(type={"const": "hello"}, token=_TEXT, cursor=_TEXT, at=position) | {"additionalProperties": False}
    hello["required"] = ["type"]
    poke = _object(type={"const": "poke"}, pts=_PTS, channel=_CHANNEL)
    poke["required"].remove("channel")
    reason = {"enum": ["none", "other_dc", "epoch", "too_far", "channels"]}
    seconds = {"type": "integer", "minimum": 1}
    items = {"type": "array", "minItems": 1, "items": _reference("Item")}
    server = {
        "HelloFrame": _object(type={"const": "hello"}, **_LIFE, pts=_PTS, channels=_CHANNELS, heartbeat_s=seconds),
        "UpdatesFrame": _object(type={"const": "updates"}, updates=items),
        "PokeFrame": poke,
        "HeartbeatFrame": _object(type={"const": "heartbeat"}, pts=_PTS, channels=_CHANNELS),
        "ResumeFrame": _object(type={"const": "resume"}, reason=reason, **_LIFE),
        "PongFrame": _object(type={"const": "pong"}),
    }
    ping = _object(type={"const": "ping"}) | {"additionalProperties": False}
    return {
        **server,
        "ServerFrame": {"oneOf": [_reference(name) for name in server]},
        "ClientFrame": {"oneOf": [hello, ping]},
    }


def _object(**members: Json) -> Json:
    return {"type": "object", "required": list(members), "properties": members}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}

"""How OpenAPI describes the calls of files, whose bodies are bytes."""

from collections.abc import Mapping
from typing import Any

from api import openapi_parts as parts
from api import schemas
from api.file_routes import GET, PUT
from api.openapi import failures_of
from api.operations import Other
from api.schemas import reference
from core import limits
from core.action import Action
from core.errors import Forbidden, LinkFailed, NotFound

_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_MESSAGE = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_ID = "1234567890123456789"


def others(put: type[Action]) -> list[Other]:
    """The two."""
    written = schemas.written(put)
    keeps = failures_of(put.errors, token=True, writes=True)
    gives = failures_of((NotFound, Forbidden, LinkFailed), token=True, writes=False)
    example = {"id": _ID, "sha256": "0" * 64, "bytes": 1, "type": "image/png", "name": "lunch.png"}
    keep = {
        "operationId": put.name,
        "summary": put.summary,
        "tags": ["file"],
        "x-consistency": {put.name: put.consistency},
        "x-durability": {put.name: put.durability},
        "parameters": [
            _query("name", "What its sender calls it", {"type": "string", "maxLength": limits.LINE_CHARS_MAX}),
            _query("sha256", "What the bytes that come are to have; they are refused if it is another", _SHA256),
            *(parts.parameter(name) for name in ("XClock", "IdempotencyKey", "Prefer")),
        ],
        "requestBody": {
            "required": True,
            "description": f"The bytes, at most {limits.FILE_BYTES_MAX}. Their media type is its Content-Type",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        "responses": {
            "200": parts.done(reference(written.__name__), example, ("PreferenceApplied", "IdempotencyReplayed"))
        },
    }
    give = {
        "operationId": "file.get",
        "summary": "The bytes of a file that I have put, or that a message names which I may read",
        "tags": ["file"],
        "x-consistency": {"file.get": "Immutable. Bytes that are not here are fetched elsewhere and kept."},
        "parameters": [
            {"name": "sha256", "in": "path", "required": True, "schema": _SHA256},
            _query(
                "message",
                "The message that names it; none for a file of my own",
                _MESSAGE,
            ),
            {
                "name": "Range",
                "in": "header",
                "required": False,
                "description": "One range of bytes; others are answered whole",
                "schema": {"type": "string"},
            },
            *(parts.parameter(name) for name in ("XClock", "XCursor")),
        ],
        "responses": {"200": _bytes("All of them"), "206": _bytes("The range that was asked for")},
    }
    return [
        Other(*PUT, keep, tuple(keeps), schemas.components({written})),
        Other(*GET, give, tuple(gives)),
    ]


def _query(name: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": dict(schema)}


def _bytes(text: str) -> dict[str, Any]:
    """As an attachment, whatever they are."""
    clock = {"X-Clock": {"$ref": "#/components/headers/XClock"}}
    return {"description": text, "headers": clock, "content": _BINARY}

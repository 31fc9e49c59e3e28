"""One declarative table of what the public API can do: routing and OpenAPI are both made from it.

Writes come from the registry of actions; reads and the few calls that are neither are declared in api/queries/.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic

from api.answers import Answer
from api.calls import Call
from core import limits
from core.action import Action, Request
from core.errors import PlanBError

Answerer = Callable[[Call, Any], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Read:
    """A call that is no write primitive. `answer` gets the call and the validated request."""

    name: str
    method: str
    path: str
    summary: str
    consistency: str
    answer: Answerer
    Answer: type[Answer]
    """The shape of what is answered: described and tested, not checked at run time."""
    Request: type[Request] = Request
    errors: Sequence[type[PlanBError]] = ()
    example: Mapping[str, Any] | None = None
    """An example body."""
    public: bool = False
    """Needs no token."""
    writes: bool = False
    """Commits an event, so it takes a key and may fail as a write."""

    @property
    def body_bytes_max(self) -> int:
        return limits.ANONYMOUS_BYTES_MAX if self.public else limits.REQUEST_BYTES_MAX


@dataclass(frozen=True)
class Other:
    """A call that is neither: `operation` describes it as OpenAPI has it, but for its errors."""

    method: str
    path: str
    operation: Mapping[str, Any]
    errors: Sequence[type[PlanBError]] = ()
    schemas: Mapping[str, Any] = field(default_factory=dict)
    """Components that the operation refers to."""


@dataclass(frozen=True)
class Place:
    """Where the fields of a request are."""

    path: frozenset[str]
    query: frozenset[str]
    body: frozenset[str]


def path_names(path: str) -> frozenset[str]:
    """The `{name}` parts of a path template."""
    return frozenset(part.partition("}")[0] for part in path.split("{")[1:])


def plain_first(path: str) -> tuple[int, str]:
    """Sorts paths so that `/members/me` is tried before `/members/{user}`."""
    return path.count("{"), path


def field_names(request: type[pydantic.BaseModel]) -> frozenset[str]:
    """As a client writes them: the alias where there is one."""
    return frozenset(field.alias or name for name, field in request.model_fields.items())


def place_of_action(action: type[Action]) -> Place:
    path = path_names(action.route.path)
    query = frozenset(action.route.query)
    return Place(path, query, field_names(action.Request) - path - query)


def place_of_read(read: Read) -> Place:
    """A GET takes the rest from its query, others from the body."""
    path = path_names(read.path)
    rest = field_names(read.Request) - path
    return Place(path, rest, frozenset()) if read.method == "GET" else Place(path, frozenset(), rest)


def grouped(actions: Iterable[type[Action]], listener: str) -> dict[tuple[str, str], list[type[Action]]]:
    """(method, path) -> the actions that share it on one listener."""
    found: dict[tuple[str, str], list[type[Action]]] = {}
    for action in actions:
        if action.route.listener == listener:
            found.setdefault((action.route.method, action.route.path), []).append(action)
    return found

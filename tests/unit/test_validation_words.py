"""What a client is told of a field that is wrong: our words, never those of a library."""

from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from api import app  # noqa: F401  (imports every call, so every request)
from api.problems import of_validation
from api.validation_words import ANYTHING_ELSE
from core.action import Request, registry
from core.errors import PlanBError

WRONG: tuple[Any, ...] = (
    None, True, 5, -1, 0, 1 << 70, 1.5, float("nan"), float("inf"), "", "x", "9" * 30, "x" * 70_000, "\ud800", "a\nb",
    "\0", [], [1], ["x"] * 5_000, [[]], {}, {"unknown": 1}, {"from": 5, "days": [9]}, b"bytes",
)  # fmt: skip


def models() -> Iterator[type[pydantic.BaseModel]]:
    """Of every request, and of what is in them."""
    assert registry()
    queue: list[type[pydantic.BaseModel]] = [Request]
    while queue:
        model = queue.pop()
        queue += model.__subclasses__()
        if model.__module__.startswith(("api.", "core.")):
            yield model


def refusals(model: type[pydantic.BaseModel]) -> Iterator[pydantic.ValidationError]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    for fields in ({}, {"unknown": 1}, *({name: value} for name in names for value in WRONG)):
        try:
            model.model_validate(fields)
        except PlanBError:
            continue  # our own, and said by it
        except pydantic.ValidationError as error:
            yield error


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__qualname__)
def test_every_refusal_of_a_field_is_in_our_own_words(model: type[pydantic.BaseModel]) -> None:
    for error in refusals(model):
        theirs = {line["msg"] for line in error.errors() if line["type"] != "value_error"}
        found = of_validation(error)
        ours = {one["problem"] for one in found.members["errors"]}
        assert not ours & theirs, "a library's text"
        assert ANYTHING_ELSE not in ours, f"nothing says what is allowed: {[line['type'] for line in error.errors()]}"
        assert not any(word in found.detail for word in ("Input should", "String should", "Value error"))

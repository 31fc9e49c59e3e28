"""Types of query fields."""

from typing import Annotated, Any

import pydantic

from core import limits


def _number(value: Any) -> Any:
    """From a query string it comes as digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value


LIMIT_DEFAULT = 50
Limit = Annotated[
    int,
    pydantic.BeforeValidator(_number),
    pydantic.Field(ge=1, le=limits.PAGE_MAX, description="How many at most"),
]
CursorText = Annotated[
    str, pydantic.Field(max_length=limits.CURSOR_CHARS_MAX, description="The last cursor that was answered")
]
AfterText = Annotated[str, pydantic.Field(max_length=limits.TOKEN_CHARS_MAX, description="`after` of the page before")]

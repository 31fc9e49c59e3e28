"""What a message may hold besides its text. A message without is a plain text.

A picture or file is named, not checked: its bytes may be anywhere, or nowhere. Whether its sender has put them is asked
of whoever reads them by the message (api/file_routes.py). Whoever shows a message trusts none of what its sender says.
"""

import math
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field

from core import limits
from core.action import Request
from core.actions.fields import Line
from core.errors import TooLarge
from core.tables import canonical

Number = Annotated[int, Field(ge=0, le=limits.JSON_INT_MAX)]


class _Media(Request):
    file: Annotated[str, Field(pattern=r"^F[A-Za-z0-9]{1,64}$", description="File id")] = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Of its bytes, in hex")] = ""
    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[!-~]+$", max_length=limits.TEXT_FIELD_CHARS_MAX, description="Where others get it from"
        ),
    ] = ""
    name: Annotated[Line, Field(description="As its sender calls it")] = ""
    type: Annotated[str, Field(pattern=r"^[a-z0-9.+-]{1,63}/[a-z0-9.+-]{1,63}$", description="Media type")] = ""
    bytes: Number = 0

    @pydantic.model_validator(mode="after")
    def _named(self) -> "_Media":
        if not (self.file or self.sha256 or self.url):
            raise ValueError("needs one of file, sha256, url")
        return self


class Image(_Media):
    kind: Literal["image"]
    width: Annotated[int, Field(ge=0, le=limits.IMAGE_SIDE_MAX, description="Pixels")] = 0
    height: Annotated[int, Field(ge=0, le=limits.IMAGE_SIDE_MAX, description="Pixels")] = 0


class File(_Media):
    kind: Literal["file"]


class Location(Request):
    kind: Literal["location"]
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, description="Degrees north")]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, description="Degrees east")]
    accuracy_m: Annotated[float, Field(ge=0, le=limits.ACCURACY_M_MAX, allow_inf_nan=False)] = 0.0
    name: Annotated[Line, Field(description="What is there")] = ""


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    """ValueError for what not every JSON library reads alike, and for more of it than a client should have to walk."""
    _check(data, 1, limits.CUSTOM_VALUES_MAX)
    return data


def _check(value: Any, depth: int, left: int) -> int:
    """How many more values there may be after this one."""
    if left <= 0:
        raise ValueError(f"must not hold more than {limits.CUSTOM_VALUES_MAX} values")
    left -= 1
    if isinstance(value, (dict, list)):
        if depth > limits.CUSTOM_DEPTH_MAX:
            raise ValueError(f"must not be nested more than {limits.CUSTOM_DEPTH_MAX} deep")
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str) or not 0 < len(name) <= limits.CUSTOM_NAME_CHARS_MAX:
                    raise ValueError(f"names must have 1 to {limits.CUSTOM_NAME_CHARS_MAX} characters")
                _check_text(name)
        for member in value.values() if isinstance(value, dict) else value:
            left = _check(member, depth + 1, left)
    elif isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must not hold a number that is none")
    elif isinstance(value, int):
        if abs(value) > limits.JSON_INT_MAX:
            raise ValueError("must not hold integers beyond 2^53")
    elif value is not None:
        raise ValueError("must be JSON")
    return left


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("must not hold NUL or unpaired surrogates")


class Custom(Request):
    kind: Literal["custom"]
    type: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Which of the clients' own kinds")]
    data: Annotated[
        dict[str, Any], Field(description="Any JSON, of bounded depth and number of values"), AfterValidator(_bounded)
    ]


Content = Annotated[
    Image | File | Location | Custom,
    Field(discriminator="kind", description="What it holds besides its text; absent: nothing"),
]


def plain(content: Image | File | Location | Custom) -> dict[str, Any]:
    """As it is kept and shown: what the sender said, and nothing else."""
    return content.model_dump(exclude_unset=True)


def require_fits(text: str, content: dict[str, Any]) -> None:
    """TooLarge for text and content that together are more than a message holds."""
    size = len(text.encode()) + len(canonical(content))
    if size > limits.MESSAGE_BYTES_MAX:
        raise TooLarge(f"text and content: at most {limits.MESSAGE_BYTES_MAX} bytes in all; these have {size}")

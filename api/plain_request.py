"""Plain requests, read from their bytes: whole, in one piece, with none but well-known headers. See api/front.py."""

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

HEADERS = (
    "Authorization", "Content-Length", "Idempotency-Key", "Prefer", "X-Clock", "X-Cursor",
    # These change nothing here, `Connection: close` apart.
    "Accept", "Accept-Encoding", "Accept-Language", "Connection", "Content-Type", "Host", "User-Agent",
)  # fmt: skip
"""The headers of a plain request; one with any other is the framework's."""

_NAMES = {name.lower(): name for name in HEADERS}
_START = re.compile(rb"POST (/[A-Za-z0-9/]+) HTTP/1\.1")
_LINE = re.compile(rb"([A-Za-z-]+): ([\x20-\x7e]*)")
_KEY = b"\r\nIdempotency-Key: "
_HEAD_BYTES_MAX = 8_190
KNOWN_MAX = 8_192
_KNOWN_LINE_BYTES_MAX = 512
_KNOWN_START_BYTES_MAX = 1_024
_LENGTH_DIGITS_MAX = 7


class Request(msgspec.Struct, frozen=True, gc=False):
    path: str
    headers: dict[str, str]
    body: bytes


class Reader:
    """Reads plain requests. A client says nearly the same with each one, so what heads hold is remembered as read."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[str, str]] = {}
        """A line -> the header's name in `HEADERS`, and its value."""
        self.begun: dict[bytes, tuple[str, dict[str, str]]] = {}
        """What stands before the key, which comes once -> the path, and its headers."""

    def read(self, data: bytes) -> Request | None:
        """The one plain request that these bytes are; None for anything else."""
        end = data.find(b"\r\n\r\n", 0, _HEAD_BYTES_MAX)
        if end < 0:
            return None
        start, named, rest = data[:end].partition(_KEY)
        begun = self.begun.get(start) or self._begin(start, kept=bool(named))
        if begun is None:
            return None
        path, headers = begun[0], begun[1].copy()
        if named:
            key, *lines = rest.split(b"\r\n")
            if "Idempotency-Key" in headers or not _is_visible(key):
                return None
            headers["Idempotency-Key"] = key.decode().strip(" ")
            if not self._take(headers, lines):
                return None
        if "Host" not in headers:  # the framework refuses it
            return None
        length = headers.get("Content-Length", "")
        if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX or len(data) != end + 4 + int(length):
            return None
        if "Connection" in headers and headers["Connection"].lower() != "keep-alive":
            return None
        return Request(path, headers, data[end + 4 :])

    def _begin(self, start: bytes, *, kept: bool) -> tuple[str, dict[str, str]] | None:
        """The path and the headers of a head, or of its part before the key, which is `kept`."""
        lines = start.split(b"\r\n")
        match = _START.fullmatch(lines.pop(0))
        headers: dict[str, str] = {}
        if match is None or not self._take(headers, lines):
            return None
        begun = match[1].decode(), headers
        if kept and len(start) <= _KNOWN_START_BYTES_MAX:
            _keep(self.begun, start, begun)
        return begun

    def _take(self, headers: dict[str, str], lines: list[bytes]) -> bool:
        """False for a line that is no plain header, or one of a name that is there already."""
        for line in lines:
            found = self.known.get(line) or self._header(line)
            if found is None or found[0] in headers:
                return False
            headers[found[0]] = found[1]
        return True

    def _header(self, line: bytes) -> tuple[str, str] | None:
        match = _LINE.fullmatch(line)
        name = _NAMES.get(match[1].decode().lower()) if match else None
        if match is None or name is None:
            return None
        found = name, match[2].decode().strip(" ")
        if name != "Idempotency-Key" and len(line) <= _KNOWN_LINE_BYTES_MAX:
            _keep(self.known, line, found)
        return found


def _is_visible(value: bytes) -> bool:
    """As _LINE has a header's value."""
    return value.isascii() and value.decode().isprintable()


def _keep(known: dict[bytes, T], text: bytes, found: T) -> None:
    if len(known) >= KNOWN_MAX:
        known.clear()
    known[text] = found

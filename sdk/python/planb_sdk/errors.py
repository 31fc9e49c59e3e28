"""What a call of the SDK may raise."""

from typing import Any


class PlanBError(Exception):
    """The root."""


class ApiError(PlanBError):
    """The server refused; repeating the same call changes nothing. `code` is stable (docs/errors.md)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.problem = problem
        """The problem document (RFC 9457)."""
        super().__init__(f"{self.code}: {self.detail}" if self.detail else self.code)


class Unauthenticated(ApiError):
    """The token is not valid, has expired and can't be refreshed, or its session was revoked: log in again."""


class Replaced(ApiError):
    """The session has all the streams that it can have, and a newer one took this one's place. Following again takes
    another one's: do so when the user turns to this client."""


class Unreachable(PlanBError):
    """No region answered within the time given. A write stays in the outbox under its key and is sent later; give
    the same `key` if you call again yourself."""

    def __init__(self, detail: str, key: str = "") -> None:
        super().__init__(detail)
        self.key = key


class OutboxFull(PlanBError):
    """Too many writes wait to be acknowledged: nothing was sent."""


class Closed(PlanBError):
    """The client was closed."""

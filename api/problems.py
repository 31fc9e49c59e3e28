"""Every error as `application/problem+json` (RFC 9457), and nothing private in it.

`type` is `urn:planb:problem:<code>`; codes are those of core/errors.py and are listed in docs/errors.md.
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pydantic
from aiohttp import web

from api.decoding import problem
from api.validation_words import words
from core import errors, limits

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER_S = 1.0
_encode = msgspec.json.Encoder().encode


class MethodNotAllowed(errors.PlanBError):
    code, status, exit_code, title = "method_not_allowed", 405, 2, "This path has other methods"


class TooSlow(errors.PlanBError):
    code, status, exit_code, title = "too_slow", 408, 6, "The body took too long to arrive"


_OF_STATUS: dict[int, type[errors.PlanBError]] = {
    404: errors.NotFound,
    405: MethodNotAllowed,
    413: errors.TooLarge,
}


def translate(error: Exception) -> errors.PlanBError | None:
    """Our error for one of a library; None for an unexpected one."""
    if isinstance(error, errors.PlanBError):
        return error
    if isinstance(error, pydantic.ValidationError):
        return of_validation(error)
    if isinstance(error, web.HTTPException) and 400 <= error.status < 500:
        kind = _OF_STATUS.get(error.status, errors.Invalid)
        return kind(_DETAILS.get(error.status, error.reason))
    if isinstance(error, (web.RequestPayloadError, web.PayloadAccessError)):
        return errors.Invalid("the body did not arrive whole")
    return None


_DETAILS = {404: "there is no such path", 413: "the body is too large"}


def of_validation(error: pydantic.ValidationError, within: str = "") -> errors.Invalid:
    """Which fields (of the member `within`), and why; values are not repeated. Of many only the first are told."""
    found: list[dict[str, str]] = []
    for line in error.errors(include_url=False, include_input=False):
        if len(found) == limits.ERRORS_LISTED_MAX:
            found.append(problem("", f"{error.error_count() - len(found)} more"))
            break
        place = (within, *line["loc"]) if within else line["loc"]
        found.append(problem(".".join(str(part) for part in place), words(line)))
    detail = "; ".join(f"{one['field']}: {one['problem']}" for one in found[:3])
    return errors.Invalid(detail, errors=found)


def document(error: errors.PlanBError, request_id: str) -> dict[str, Any]:
    """The problem document."""
    return member(error) | {"request": request_id}


def member(error: errors.PlanBError) -> dict[str, Any]:
    """The document without the request's id: one item's problem within an answer."""
    status = error.status
    hidden = status == 500  # what went wrong inside is for the log
    body: dict[str, Any] = {
        "type": f"urn:planb:problem:{error.code}",
        "title": error.title,
        "status": status,
        "code": error.code,
        "detail": error.title if hidden else error.detail,
    }
    retry = retry_after_s(error)
    if retry is not None:
        body["retry_after_s"] = retry
    return body | ({} if hidden else error.members)


def retry_after_s(error: errors.PlanBError) -> int | None:
    """Whole seconds, for the errors after which the same request may succeed."""
    if error.retry_after_s is None and error.status not in (429, 503) and not _passes(error):
        return None
    return max(1, math.ceil(error.retry_after_s or _RETRY_AFTER_S))


def _passes(error: errors.PlanBError) -> bool:
    return isinstance(error, (errors.NotYetHere, errors.ClockAhead, TooSlow))


def response(error: errors.PlanBError, request_id: str) -> web.Response:
    answer = web.Response(status=error.status, body=_encode(document(error, request_id)), content_type=CONTENT_TYPE)
    retry = retry_after_s(error)
    if retry is not None:
        answer.headers["Retry-After"] = str(retry)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def all_errors() -> Iterator[type[errors.PlanBError]]:
    """Every error that has a code of its own, parents before children. Others (an answer that is passed on) carry a
    code that they got from elsewhere."""
    queue: list[type[errors.PlanBError]] = [errors.PlanBError]
    while queue:
        kind = queue.pop(0)
        if "code" in vars(kind):
            yield kind
        queue.extend(kind.__subclasses__())

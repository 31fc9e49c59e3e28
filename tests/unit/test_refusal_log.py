"""A bad day's log is short, and says how many were refused."""

import json
from typing import Any

import pytest

from api.refusal_log import RefusalLog
from core import limits
from core.errors import LogUnavailable, NotFound, PlanBError, StoreUnavailable


class Clock:
    now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [json.loads(record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_of_many_that_are_refused_for_one_reason_a_line_a_second_is_written(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    written = RefusalLog(clock)
    for number in range(1_000):
        error = LogUnavailable()
        written.record(error, error, f"a-{number}", "POST /v1/messages")
    other = StoreUnavailable(private="relational.db: database or disk is full")
    written.record(other, other, "b", "PATCH /v1/me")
    assert [(one["request"], one["code"]) for one in lines(caplog)] == [
        ("a-0", "log_unavailable"), ("b", "store_unavailable")
    ]  # fmt: skip
    clock.now_s += limits.REFUSALS_LOGGED_MS / 1_000
    for number in range(10):
        error = LogUnavailable()
        written.record(error, error, f"c-{number}", "POST /v1/messages")
    (line,) = lines(caplog)
    assert (line["request"], line["more_like_it"]) == ("c-0", 999)


def test_what_nobody_expected_is_always_written_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    written = RefusalLog(Clock())
    for number in range(3):
        written.record(ValueError("odd"), PlanBError(), f"{number}", "GET /v1/me")
    assert [("ValueError: odd" in one["trace"], one["request"]) for one in lines(caplog)] == [
        (True, "0"), (True, "1"), (True, "2")
    ]  # fmt: skip
    mistake = NotFound()
    written.record(mistake, mistake, "3", "GET /v1/me")
    assert not lines(caplog), "a client's own mistake"


def test_what_is_remembered_is_bounded() -> None:
    written = RefusalLog(Clock())
    for number in range(3 * limits.REFUSAL_REASONS_MAX):
        error = StoreUnavailable(private=f"seq {number}")
        for _ in range(2):
            written.record(error, error, "x", "POST /v1/messages")
        assert len(written._told_s) <= limits.REFUSAL_REASONS_MAX
        assert written._untold.keys() <= written._told_s.keys()

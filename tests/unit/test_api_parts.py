"""The small parts of the public listener, each by itself."""

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import decoding, error_table, problems
from api.cursors import Cursor, Cursors
from api.decoding import decode_object
from api.metrics import Metrics
from api.operations import path_names, plain_first
from api.position import At, ahead, position_of
from api.signing import Signer
from api.token_keys import TokenKeys, derived
from api.tokens import Tokens
from core import errors, limits
from core.action import SessionView
from core.errors import Invalid, PlanBError, Unauthenticated

KEY = b"a key that all datacenters share"
DOCS = Path(__file__).parents[2] / "docs"

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


class Decoded:
    """The parser, and how many bytes it was given."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.bytes = 0

    def decode(self, raw: Any) -> Any:
        self.bytes += len(raw)
        return self._inner.decode(raw)


@pytest.mark.parametrize(
    "element", ["[]", "{}", "0", '""', "[[]]", '{"a":[]}', r'"\\"', r'"\""', '"],["', "[" * 30 + "]" * 30]
)
def test_a_body_of_tiny_elements_is_refused_before_anything_is_made_of_them(
    element: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsers = [Decoded(decoding._decoder), Decoded(decoding._names)]
    monkeypatch.setattr(decoding, "_decoder", parsers[0])
    monkeypatch.setattr(decoding, "_names", parsers[1])
    count = limits.BODY_BYTES_MAX // (len(element) + 1) - 10
    with pytest.raises(Invalid) as refused:
        decode_object(b'{"messages":[' + b",".join([element.encode()] * count) + b"]}")
    assert "more than" in refused.value.detail
    assert [parser.bytes for parser in parsers] == [0, 0]


@pytest.mark.parametrize("more", ["", " "])
@pytest.mark.parametrize("text", ["],[" * 5_000, '\\"' * 9_000, "\\\\" * 9_000, "{" * 9_000, '\\",' * 9_000])
def test_what_stands_in_a_text_is_no_element(text: str, more: str) -> None:
    count = 40
    raw = '{"messages":[' + ",".join([f'{more}["{text}",0]'] * count) + "]}"
    assert decode_object(raw.encode()) == json.loads(raw)


@pytest.mark.parametrize("over", [0, 1])
def test_as_many_elements_as_may_be_are_taken(over: int) -> None:
    """The object, its list, and the rest of them."""
    raw = b'{"messages":[' + b",".join([b"[]"] * (limits.JSON_VALUES_MAX - 2 + over)) + b"]" + b" " * 20_000 + b"}"
    if over:
        with pytest.raises(Invalid):
            decode_object(raw)
    else:
        assert len(decode_object(raw)["messages"]) == limits.JSON_VALUES_MAX - 2


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_any_plain_object_is_decoded_as_it_was(value: dict[str, Any], ascii: bool, indent: int | None) -> None:
    assert decode_object(json.dumps(value, ensure_ascii=ascii, indent=indent).encode()) == value


@given(st.lists(st.tuples(st.sampled_from(["a", "b", '"', "é", "\\"]), VALUES), max_size=4), st.booleans())
def test_a_doubled_name_is_never_taken(pairs: list[tuple[str, Any]], ascii: bool) -> None:
    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii)

    raw = "{" + ",".join(f"{text(name)} : {text(value)}" for name, value in pairs) + "}"
    if len({name for name, _ in pairs}) == len(pairs):
        assert decode_object(raw.encode()) == dict(pairs)
    else:
        with pytest.raises(Invalid):
            decode_object(raw.encode())


@given(st.binary(max_size=60))
def test_bytes_are_an_object_or_invalid(raw: bytes) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(decode_object(raw), dict)


@given(st.binary(max_size=64), st.integers(0, 200), st.integers(1, 255))
def test_a_sealed_string_opens_and_a_changed_one_does_not(payload: bytes, at: int, change: int) -> None:
    signer = Signer(KEY, "PX1", 512)
    sealed = signer.seal(payload)
    assert signer.open(sealed) == payload
    changed = bytearray(sealed.encode())
    changed[at % len(changed)] ^= change
    assert signer.open(changed.decode("latin-1")) is None
    assert Signer(KEY, "PX2", 512).open(sealed) is None
    assert Signer(KEY[::-1], "PX1", 512).open(sealed) is None
    assert Signer(KEY, "PX1", len(sealed) - 1).open(sealed) is None


class Sessions:
    def __init__(self) -> None:
        self.rows: dict[str, SessionView] = {}

    async def session(self, session: str) -> SessionView | None:
        return self.rows.get(session)


async def test_a_cached_token_still_expires_and_is_still_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    now, sessions = [1_000], Sessions()
    tokens = Tokens(TokenKeys([derived(KEY)]), sessions, lambda: now[0], bytes)
    token = tokens.issue("s1", "Uada", 2_000)
    assert (await tokens.authenticate(token)).user == "Uada"
    now[0] = 2_000
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.authenticate(token)
    now[0] = 1_500
    sessions.rows["s1"] = SessionView("s1", "Uada", "phone", 2_000, True)
    with pytest.raises(Unauthenticated, match="revoked"):
        await tokens.authenticate(token)


async def test_the_cache_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOKENS_CACHED_MAX", 3)
    tokens = Tokens(TokenKeys([derived(KEY)]), Sessions(), lambda: 0, bytes)
    for number in range(10):
        await tokens.authenticate(tokens.issue(f"s{number}", "Uada", 1_000))
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(f"{number}.x.y")
    assert len(tokens._verified) == 3


CURSOR = Cursor("Uada", "fra", 3, 7, {1: 2, 65535: (1 << 63) - 1}, {"C1": 4, "C2": 5}, ("C2",))


def test_a_cursor_is_opened_as_it_was_sealed() -> None:
    cursors = Cursors(KEY)
    assert cursors.open(cursors.seal(CURSOR), "Uada") == CURSOR
    with pytest.raises(Invalid):
        cursors.open(cursors.seal(CURSOR), "Ugrace")


def at(**changes: Any) -> At:
    return At.model_validate({"dc": "fra", "epoch": 3, "pts": 9, "channels": {"C1": 6, "C2": 9, "C3": 1}} | changes)


def test_what_the_stream_brought_moves_the_cursor_on_but_no_search() -> None:
    moved = ahead(CURSOR, at())
    assert (moved.pts, moved.channels) == (9, {"C1": 6, "C2": 5})
    assert ahead(CURSOR, at(pts=1, channels={})) == CURSOR
    assert ahead(CURSOR, at(epoch=4)) == CURSOR
    assert ahead(CURSOR, at(dc="nyc")) == CURSOR
    searched = msgspec.structs.replace(CURSOR, scan=("Uada",))
    assert ahead(searched, at()).pts == 7


def test_a_mark_counts_the_stream_only_where_it_belongs() -> None:
    assert position_of(None, None) is None
    alone = position_of(None, at())
    assert alone is not None and (alone.pts, alone.v) == (9, {})
    assert position_of(CURSOR, at(epoch=4)) == CURSOR.position()
    both = position_of(CURSOR, at())
    assert both is not None and both.channels == {"C1": 6, "C2": 5, "C3": 1} and both.v == CURSOR.v


def test_the_table_of_errors_is_up_to_date() -> None:
    assert (DOCS / "errors.md").read_text() == error_table.table(), "run: python -m api.error_table"


def test_codes_are_unique_and_urns() -> None:
    codes = [error.code for error in problems.all_errors()]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalnum() and code.islower() for code in codes)


@pytest.mark.parametrize("error", list(problems.all_errors()), ids=lambda error: error.code)
def test_every_error_is_a_problem_that_keeps_its_secrets(error: type[PlanBError]) -> None:
    made = error("shown", private="hunter2")
    answer = problems.response(made, "r1")
    assert answer.status == error.status and answer.content_type == "application/problem+json"
    assert isinstance(answer.body, bytes)
    body = json.loads(answer.body)
    assert (body["code"], body["request"]) == (error.code, "r1")
    assert "hunter2" not in answer.body.decode()
    assert body["detail"] == (error.title if error.status == 500 else "shown")
    assert ("Retry-After" in answer.headers) == (
        error.status in (408, 429, 503) or error.code in ("not_yet_here", "clock_ahead")
    )


def test_retry_after_is_whole_seconds_upwards() -> None:
    assert problems.retry_after_s(errors.Overloaded(retry_after_s=0.2)) == 1
    assert problems.retry_after_s(errors.ClockAhead(retry_after_s=1.01)) == 2
    assert problems.retry_after_s(errors.NotFound()) is None


def test_metrics_count_into_cumulative_buckets() -> None:
    metrics = Metrics()
    metrics.gauge("planb_lane_queue", "Writes waiting.", lambda: 3)
    for seconds in (0.0005, 0.001, 0.003, 7.0):
        metrics.observe("GET /v1/me", 200, seconds)
    metrics.observe("GET /v1/me", 401, 0.001)
    metrics.observe("POST /v1/messages", 200, 0.5, 3)
    text = metrics.text()
    assert 'planb_http_requests_total{route="POST /v1/messages",status="200"} 3' in text
    assert 'planb_http_request_seconds_count{route="POST /v1/messages"} 3' in text
    assert 'planb_http_request_seconds_sum{route="POST /v1/messages"} 1.500000' in text
    assert 'planb_http_requests_total{route="GET /v1/me",status="200"} 4' in text
    assert 'planb_http_request_seconds_bucket{route="GET /v1/me",le="0.001"} 3' in text
    assert 'planb_http_request_seconds_bucket{route="GET /v1/me",le="0.005"} 4' in text
    assert 'planb_http_request_seconds_bucket{route="GET /v1/me",le="+Inf"} 5' in text
    assert 'planb_http_request_seconds_count{route="GET /v1/me"} 5' in text
    assert "planb_lane_queue 3" in text


def test_a_metric_may_have_a_value_for_each_of_several_things() -> None:
    metrics = Metrics()
    values: dict[str, float] = {}
    metrics.series("planb_clock_offset_ms", "A peer's wall clock minus ours.", "peer", lambda: values)
    assert "# TYPE planb_clock_offset_ms gauge\n" in metrics.text()
    values |= {"nrt": 7, "iad": -30_000}
    assert metrics.text().endswith('planb_clock_offset_ms{peer="iad"} -30000\nplanb_clock_offset_ms{peer="nrt"} 7\n')


def test_literal_paths_are_tried_before_patterns() -> None:
    paths = ["/a/{b}", "/a/{b}/{c}", "/a/me", "/a/{b}/me"]
    assert sorted(paths, key=plain_first) == ["/a/me", "/a/{b}", "/a/{b}/me", "/a/{b}/{c}"]
    assert path_names("/a/{b}/{c}") == {"b", "c"}

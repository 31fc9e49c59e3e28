"""The signatures of the internal listener, both directions."""

import pytest

from api.internal_auth import ANSWER_HEADER, InternalAuth, sign_answer, sign_headers, verify, verify_answer
from core import limits
from core.errors import LinkFailed, Unauthenticated

KEY = b"k" * 32
NOW_MS = 1_800_000_000_000
SENT = ("POST", "/sys/v1/pull?x=1", b"body")


def signed(key: bytes = KEY, name: str = "fra", now_ms: int = NOW_MS) -> str:
    return sign_headers(key, name, *SENT, now_ms)["Authorization"]


def test_a_signed_request_is_believed_and_names_its_sender() -> None:
    assert verify(KEY, signed(), *SENT, NOW_MS).name == "fra"


@pytest.mark.parametrize(
    "request_",
    [("PUT", *SENT[1:]), (SENT[0], "/sys/v1/pull", SENT[2]), (SENT[0], "/sys/v1/pull?x=2", SENT[2]), (*SENT[:2], b"")],
)
def test_a_signature_is_for_one_method_path_query_and_body(request_: tuple[str, str, bytes]) -> None:
    with pytest.raises(Unauthenticated):
        verify(KEY, signed(), *request_, NOW_MS)


def test_another_key_another_name_and_another_time_are_refused() -> None:
    good = signed()
    for wrong in (signed(key=b"x" * 32), good.replace("fra:", "ams:"), good.replace(str(NOW_MS), str(NOW_MS + 1))):
        with pytest.raises(Unauthenticated):
            verify(KEY, wrong, *SENT, NOW_MS)


@pytest.mark.parametrize(
    "header",
    [
        None, "", "PlanB-HMAC", "Bearer x", "PlanB-HMAC fra:1:", f"PlanB-HMAC fra:{NOW_MS}:{'0' * 64}",
        f"PlanB-HMAC fra:{'9' * 40}:{'0' * 64}", f"PlanB-HMAC :1:{'0' * 64}", f"PlanB-HMAC fra:-1:{'0' * 64}",
        f"PlanB-HMAC fra:١:{'0' * 64}",
    ],
)  # fmt: skip
def test_absent_and_malformed_signatures_are_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        verify(KEY, header, *SENT, NOW_MS)


def test_a_request_counts_for_60_seconds_either_way() -> None:
    window_ms = limits.INTERNAL_AUTH_WINDOW_MS
    assert window_ms == 60_000
    for off_ms in (window_ms, -window_ms):
        assert verify(KEY, signed(now_ms=NOW_MS + off_ms), *SENT, NOW_MS)
    for off_ms in (window_ms + 1, -window_ms - 1):
        with pytest.raises(Unauthenticated, match="clock"):
            verify(KEY, signed(now_ms=NOW_MS + off_ms), *SENT, NOW_MS)


def test_an_answer_is_for_one_request_status_and_body() -> None:
    mac = verify(KEY, signed(), *SENT, NOW_MS).mac
    header = sign_answer(KEY, "ams", mac, 200, b"answer")[ANSWER_HEADER]
    assert verify_answer(KEY, header, mac, 200, b"answer") == "ams"
    other = verify(KEY, signed(now_ms=NOW_MS + 1), *SENT, NOW_MS).mac
    for wrong in (
        (KEY, header, other, 200, b"answer"),
        (KEY, header, mac, 500, b"answer"),
        (KEY, header, mac, 200, b"another"),
        (KEY, header.replace("ams", "nyc"), mac, 200, b"answer"),
        (b"x" * 32, header, mac, 200, b"answer"),
        (KEY, None, mac, 200, b"answer"),
        (KEY, "", mac, 200, b"answer"),
    ):
        with pytest.raises(LinkFailed):
            verify_answer(*wrong)


def test_both_sides_of_one_process_fit_together_and_a_short_key_is_refused() -> None:
    fra, ams = InternalAuth(KEY, "fra", lambda: NOW_MS), InternalAuth(KEY, "ams", lambda: NOW_MS + 5)
    sent = fra.sign(*SENT)
    sender = ams.verify(sent["Authorization"], *SENT)
    fra.check_answer(sent, 200, ams.sign_answer(sender, 200, b"x"), b"x")
    with pytest.raises(LinkFailed):
        fra.check_answer(sent, 200, {}, b"x")
    for key, name in ((b"short", "fra"), (KEY, ""), (KEY, "a b"), (KEY, "a:b")):
        with pytest.raises(ValueError, match="internal key"):
            InternalAuth(key, name, lambda: 0)

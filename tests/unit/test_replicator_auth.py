"""The signatures of the internal listener, both directions, and which requests count."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from api.internal_auth import ANSWER_HEADER, SIGNED, InternalAuth, sign_answer, sign_headers, verify_answer
from api.nonces import Nonces
from core import limits
from core.errors import AlreadyReceived, LinkFailed, OutOfTime, PlanBError, Unauthenticated

KEY = b"k" * 32
NOW_MS = 1_800_000_000_000
BODY = b"body"
SENT = ("POST", "/sys/v1/pull?x=1")
HEADERS = {name: f"value of {name}" for name in SIGNED}
_count = itertools.count(1)


def signed(
    key: bytes = KEY, name: str = "fra", to: str = "ams", now_ms: int = NOW_MS, nonce: str = "", method: str = SENT[0]
) -> dict[str, str]:
    return sign_headers(key, name, to, method, SENT[1], BODY, now_ms, nonce or f"{next(_count):032x}", HEADERS)


def receiver(now_ms: Callable[[], int] = lambda: NOW_MS) -> InternalAuth:
    """One that began long ago."""
    running = iter((0,))
    return InternalAuth(KEY, "ams", now_ms, steady_ms=lambda: next(running, 1_000_000))


def received(auth: InternalAuth, headers: dict[str, str], method: str = SENT[0]) -> str:
    """The sender of a request that counts."""
    sender = auth.verify(method, SENT[1], headers)
    auth.admit(method, headers, sender)
    return sender.name


def test_a_signed_request_is_believed_and_names_its_sender() -> None:
    assert received(receiver(), signed()) == "fra"


@pytest.mark.parametrize("request_", [("PUT", SENT[1]), (SENT[0], "/sys/v1/pull"), (SENT[0], "/sys/v1/pull?x=2")])
def test_a_signature_is_for_one_method_path_and_query(request_: tuple[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        receiver().verify(*request_, signed())


def test_a_signature_is_for_one_body() -> None:
    sender = receiver().verify(*SENT, signed())
    sender.check_body(BODY)
    for other in (b"", b"another"):
        with pytest.raises(Unauthenticated):
            sender.check_body(other)


@pytest.mark.parametrize("name", SIGNED)
def test_a_signature_is_for_the_headers_that_matter(name: str) -> None:
    for headers in (signed() | {name: "other"}, {k: v for k, v in signed().items() if k != name}):
        with pytest.raises(Unauthenticated):
            receiver().verify(*SENT, headers)


def test_a_signature_is_for_one_datacenter() -> None:
    with pytest.raises(Unauthenticated, match="signed for nyc, and this is ams"):
        receiver().verify(*SENT, signed(to="nyc"))


def test_another_key_name_receiver_time_nonce_or_body_is_refused() -> None:
    good = signed(nonce="7" * 32)
    changed = (
        ("fra:", "ams:"), (":ams:", ":nyc:"), (str(NOW_MS), str(NOW_MS + 1)), ("7" * 32, "8" * 32),
        (good["Authorization"].split(":")[4], "0" * 64),
    )  # fmt: skip
    wrong = [{**good, "Authorization": good["Authorization"].replace(*one)} for one in changed]
    for headers in (signed(key=b"x" * 32), *wrong):
        assert headers != good
        with pytest.raises(Unauthenticated):
            receiver().verify(*SENT, headers)


HEX = "0" * 64


@pytest.mark.parametrize(
    "header",
    [
        None, "", "PlanB-HMAC", "Bearer x", "PlanB-HMAC fra:ams:1:",
        f"PlanB-HMAC fra:ams:{NOW_MS}:{'0' * 32}:{HEX}:{HEX}",
        f"PlanB-HMAC fra:{NOW_MS}:{HEX}", f"PlanB-HMAC fra:ams:{'9' * 40}:{'0' * 32}:{HEX}:{HEX}",
        f"PlanB-HMAC :ams:1:{'0' * 32}:{HEX}:{HEX}", f"PlanB-HMAC fra:ams:-1:{'0' * 32}:{HEX}:{HEX}",
        f"PlanB-HMAC fra:ams:١:{'0' * 32}:{HEX}:{HEX}",
    ],
)  # fmt: skip
def test_absent_and_malformed_signatures_are_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        receiver().verify(*SENT, {} if header is None else {"Authorization": header})


def test_a_request_counts_for_60_seconds_either_way() -> None:
    window_ms = limits.INTERNAL_AUTH_WINDOW_MS
    assert window_ms == 60_000
    for off_ms in (window_ms, -window_ms):
        assert received(receiver(), signed(now_ms=NOW_MS + off_ms))
    for off_ms in (window_ms + 1, -window_ms - 1):
        with pytest.raises(OutOfTime, match=f"clocks are {window_ms + 1} ms apart") as refused:
            received(receiver(), signed(now_ms=NOW_MS + off_ms))
        assert refused.value.members == {"wall_ms": NOW_MS, "judged_ms": NOW_MS}


def test_a_request_counts_once_and_a_read_as_often_as_it_comes() -> None:
    auth, again, read = receiver(), signed(), signed(method="GET")
    received(auth, again)
    with pytest.raises(AlreadyReceived):
        received(auth, again)
    assert received(auth, signed()), "another one of the same content"
    assert received(auth, read, "GET") == received(auth, read, "GET") == "fra"


def test_it_counts_once_over_the_whole_window_and_is_out_of_time_after_it() -> None:
    now_ms = NOW_MS
    auth = receiver(lambda: now_ms)
    ahead, behind = signed(now_ms=NOW_MS + 60_000), signed(now_ms=NOW_MS - 60_000)
    for one in (ahead, behind):
        received(auth, one)
    while now_ms < NOW_MS + 125_000:
        for one in (ahead, behind):
            with pytest.raises(PlanBError):
                received(auth, one)
        received(auth, signed(now_ms=now_ms))
        now_ms += 500


def test_what_was_signed_before_a_process_began_is_refused_by_it() -> None:
    auth = InternalAuth(KEY, "ams", lambda: NOW_MS, steady_ms=lambda: 7)
    with pytest.raises(Unauthenticated, match="sign it anew"):
        received(auth, signed(now_ms=NOW_MS - 1))
    assert received(auth, signed())


def test_a_process_that_began_with_a_clock_ahead_takes_requests_as_soon_as_the_clock_is_put_right() -> None:
    steady_ms, now_ms = 0, NOW_MS + 3_600_000
    auth = InternalAuth(KEY, "ams", lambda: now_ms, steady_ms=lambda: steady_ms)
    steady_ms, now_ms = 5_000, NOW_MS + 5_000
    with pytest.raises(Unauthenticated, match="sign it anew"):
        received(auth, signed(now_ms=NOW_MS - 1))
    assert received(auth, signed(now_ms=NOW_MS))


def test_beyond_the_bound_the_oldest_second_is_over_and_nothing_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NONCES_MAX", 10)
    nonces, old = Nonces(lambda: NOW_MS - 50_000), NOW_MS - 40_000
    taken: list[tuple[int, bytes]] = []
    for n in range(11):
        at = old + 1000 * (n // 4)
        nonces.check(at, NOW_MS)
        nonces.take(at, bytes([n]), NOW_MS)
        taken.append((at, bytes([n])))
    for at, nonce in taken:
        with pytest.raises(PlanBError):
            nonces.check(at, NOW_MS)
            nonces.take(at, nonce, NOW_MS)
    with pytest.raises(Unauthenticated):
        nonces.check(old + 999, NOW_MS)
    nonces.check(old + 1000, NOW_MS)
    assert nonces._count <= 10


def test_a_clock_that_goes_back_brings_nothing_back() -> None:
    now_ms = NOW_MS
    auth = receiver(lambda: now_ms)
    old = signed()
    received(auth, old)
    now_ms += 200_000
    received(auth, signed(now_ms=now_ms))
    now_ms = NOW_MS
    with pytest.raises(Unauthenticated):
        received(auth, old)


def test_an_answer_is_for_one_request_status_and_body() -> None:
    mac = receiver().verify(*SENT, signed()).mac
    header = sign_answer(KEY, "ams", mac, 200, b"answer")[ANSWER_HEADER]
    assert verify_answer(KEY, header, mac, 200, b"answer") == "ams"
    other = receiver().verify(*SENT, signed(now_ms=NOW_MS + 1)).mac
    cases: tuple[Any, ...] = (
        (KEY, header, other, 200, b"answer"),
        (KEY, header, mac, 500, b"answer"),
        (KEY, header, mac, 200, b"another"),
        (KEY, header.replace("ams", "nyc"), mac, 200, b"answer"),
        (b"x" * 32, header, mac, 200, b"answer"),
        (KEY, None, mac, 200, b"answer"),
        (KEY, "", mac, 200, b"answer"),
    )
    for wrong in cases:
        with pytest.raises(LinkFailed):
            verify_answer(*wrong)


def test_both_sides_of_one_process_fit_together_and_a_short_key_is_refused() -> None:
    fra, ams = InternalAuth(KEY, "fra", lambda: NOW_MS + 5), InternalAuth(KEY, "ams", lambda: NOW_MS)
    sent = fra.sign("ams", *SENT, BODY, {"dc": "fra"})
    assert sent["dc"] == "fra"
    assert received(ams, sent) == "fra"
    sender = ams.verify(*SENT, sent)
    sender.check_body(BODY)
    fra.check_answer(sent, 200, ams.sign_answer(sender, 200, b"x"), b"x")
    with pytest.raises(LinkFailed):
        fra.check_answer(sent, 200, {}, b"x")
    for key, name in ((b"short", "fra"), (KEY, ""), (KEY, "a b"), (KEY, "a:b")):
        with pytest.raises(ValueError, match="internal key"):
            InternalAuth(key, name, lambda: 0)

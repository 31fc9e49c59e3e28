"""Who guesses passwords is slowed down, and keeps nobody else from logging in."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from api.attempts import Attempts
from api.queries.login import network
from core import limits
from tests.support.api import ApiDc, Reply, User, api_dc

USERS = ("Uada", "Ugrace", "Ulinus")
PROXY = frozenset(("127.0.0.1",))


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiDc]:
    monkeypatch.setattr(limits, "LOGINS_FAILED_OF_USER", 3)
    monkeypatch.setattr(limits, "LOGINS_FAILED_OF_ADDRESS", 5)
    monkeypatch.setattr(limits, "LOGIN_ADDRESS_REFILL_S", 100)
    monkeypatch.setattr(limits, "LOGIN_USER_REFILL_S", 100)
    async with api_dc(proxies=PROXY) as started:
        await started.sign_up(*USERS, passwords=True)
        yield started


async def login(api: ApiDc, user: str, password: str = "", **headers: str) -> Reply:
    fields = {"user": user, "password": password or f"password of {user}", "device": "x"}
    stranger: User = api.user(user)
    return await stranger.call("POST", "/v1/login", fields, Authorization=None, **headers)


async def test_guesses_for_one_user_are_bounded_and_others_log_in(api: ApiDc) -> None:
    statuses = [(await login(api, "Uada", "guess")).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    refused = await login(api, "Uada")
    assert (refused.status, refused.code) == (429, "too_many_requests"), "also the right one"
    assert 1 <= int(refused.headers["Retry-After"]) <= limits.LOGIN_USER_REFILL_S
    assert (await login(api, "Ugrace")).status == 200


async def test_guesses_from_one_address_are_bounded_whatever_the_user(api: ApiDc) -> None:
    for number in range(5):
        assert (await login(api, f"Unobody{number}", "guess")).status == 401
    assert (await login(api, "Uada")).code == "too_many_requests"
    assert (await login(api, "Uada", X_Forwarded_For="192.0.2.7")).status == 200


async def test_right_passwords_count_for_nothing(api: ApiDc) -> None:
    for _ in range(8):
        assert (await login(api, "Uada")).status == 200


async def test_what_stands_before_the_nearest_proxy_is_not_believed(api: ApiDc) -> None:
    for number in range(5):
        forged = f"198.51.100.{number}, 192.0.2.7"
        assert (await login(api, f"Unobody{number}", "guess", X_Forwarded_For=forged)).status == 401
    assert (await login(api, "Uada", X_Forwarded_For="203.0.113.1, 192.0.2.7")).status == 429
    assert (await login(api, "Uada", X_Forwarded_For="nonsense")).status == 200, "then it is the proxy's own"


async def test_without_proxies_the_header_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOGINS_FAILED_OF_ADDRESS", 2)
    monkeypatch.setattr(limits, "LOGIN_ADDRESS_REFILL_S", 100)
    async with api_dc() as api:
        statuses = [
            (await login(api, f"Unobody{number}", "guess", X_Forwarded_For=f"192.0.2.{number}")).status
            for number in range(3)
        ]
    assert statuses == [401, 401, 429]


async def test_one_address_does_not_fill_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PASSWORD_WAITING_OF_ADDRESS_MAX", 4)
    async with api_dc(proxies=PROXY) as api:
        await api.sign_up(*USERS, passwords=True)
        guesses = [
            asyncio.create_task(login(api, f"Unobody{number}", "guess", X_Forwarded_For="192.0.2.7"))
            for number in range(20)
        ]
        await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
        assert (await login(api, "Uada", X_Forwarded_For="192.0.2.8")).status == 200
        found = Counter(reply.status for reply in await asyncio.gather(*guesses))
        assert set(found) == {401, 429}
        assert (await login(api, "Ugrace", X_Forwarded_For="192.0.2.7")).status == 200, "what was not tried counts not"


def test_attempts_come_back_one_by_one_and_the_table_is_bounded() -> None:
    now_s = 0.0
    attempts = Attempts(3, 5.0, 2, lambda: now_s)
    for wait_s in (0, 0, 0):
        assert attempts.wait_s("a") == wait_s
        attempts.take("a")
    assert attempts.wait_s("a") == 5
    assert attempts.wait_s("b") == 0
    now_s = 3.5
    assert attempts.wait_s("a") == 2
    now_s = 5.0
    assert attempts.wait_s("a") == 0
    attempts.take("a")
    assert attempts.wait_s("a") == 5
    attempts.give_back("a")
    assert attempts.wait_s("a") == 0
    attempts.give_back("never taken")
    attempts.take("b")
    attempts.give_back("b")
    assert set(attempts._empty_s) == {"a"}, "what is empty is forgotten"
    for key in ("b", "c"):
        attempts.take(key)
    assert set(attempts._empty_s) == {"b", "c"}


@pytest.mark.parametrize(
    ("address", "key"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), ("", "")],
)
def test_whom_an_address_counts_for(address: str, key: str) -> None:
    assert network(address) == key

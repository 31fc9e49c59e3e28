"""POST /v1/messages/batch when something fails: a sender's messages never change places, and none is written twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from core import limits
from core.errors import LogUnavailable, OutcomeUnknown, PlanBError, StoreUnavailable
from core.ids import Lane
from stores.ports import EpochLost
from tests.support.api import ApiDc, User, api_dc

PATH = "/v1/messages/batch"


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace")
        yield started


@pytest.fixture
async def ada(api: ApiDc) -> User:
    return api.user("Uada")


def items(*texts: str, to: str = "Ugrace") -> list[dict[str, Any]]:
    return [{"key": f"key-{text}", "to": to, "text": text} for text in texts]


async def send(user: User, batch: Sequence[dict[str, Any]], **headers: str) -> list[dict[str, Any]]:
    results = (await user.ok("POST", PATH, {"messages": list(batch)}, **headers))["results"]
    assert len(results) == len(batch)
    return list(results)


def codes(results: Sequence[dict[str, Any]]) -> list[str]:
    return [result["problem"]["code"] if "problem" in result else "" for result in results]


async def texts(user: User) -> list[str]:
    found = await user.ok("GET", f"/v1/dialogs/Ugrace/messages?limit={limits.PAGE_MAX}")
    return [message["text"] for message in found["messages"]]


class Faults:
    """Lets calls of a DC fail, as the test says."""

    def __init__(self, api: ApiDc, patch: pytest.MonkeyPatch) -> None:
        self.results: dict[str, Exception] = {}
        """Key -> what looking for its earlier answer, together with others, raises."""
        self.commit: list[tuple[Exception | None, Exception | None]] = []
        """For the next commits: raised instead of it, and after it. Then none."""
        self.groups: list[list[str]] = []
        """Keys of each group that was committed."""
        self.written = asyncio.Event()
        self._results_of, self._commit_many = api.dc.hot.results_of, api.dc.writer.commit_many
        patch.setattr(api.dc.hot, "results_of", self._find)
        patch.setattr(api.dc.writer, "commit_many", self._write)

    async def _find(self, asked: Sequence[tuple[str, str]]) -> Any:
        for _, key in asked:
            if key in self.results:
                raise self.results[key]
        return await self._results_of(asked)

    async def _write(self, writes: Any) -> Any:
        before, after = self.commit.pop(0) if self.commit else (None, None)
        if before:
            raise before
        self.groups.append([write.key for write in writes])
        events = await self._commit_many(writes)
        self.written.set()
        if after:
            raise after
        return events


@pytest.fixture
def faults(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(api, monkeypatch)


async def test_a_batch_is_one_group_of_the_log(ada: User, faults: Faults) -> None:
    batch = [*items("one", "two"), *items("x", to="Unobody"), *items("three")]
    assert codes(await send(ada, batch)) == ["", "", "not_found", ""]
    assert faults.groups == [["key-one", "key-two", "key-three"]]


@pytest.mark.parametrize("error", [StoreUnavailable("busy", retry_after_s=3), EpochLost("gone")])
async def test_after_a_failure_that_may_pass_nothing_later_is_tried(
    api: ApiDc, ada: User, faults: Faults, error: Exception
) -> None:
    batch = [
        *items("one"),
        *items("x", to="Unobody"),
        *items("two", "three"),
        *items("y", to="Unobody"),
        *items("four"),
    ]
    faults.results["key-two"] = error
    results = await send(ada, batch)
    assert codes(results) == ["store_unavailable"] * 6, "they are asked for together"
    assert all(result == results[0] for result in results), "the same problem"
    assert results[0]["problem"]["retry_after_s"] >= 1
    assert await texts(ada) == []
    assert not api.parts.writes.running, "no key stays taken"
    faults.results.clear()
    assert codes(await send(ada, batch)) == ["", "not_found", "", "", "not_found", ""]
    assert await texts(ada) == ["one", "two", "three", "four"]


async def test_a_failure_to_resolve_stops_the_rest_as_well(
    ada: User, api: ApiDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.sign_up("Ulinus")
    user = api.dc.view.user

    async def failing(name: str) -> Any:
        if name == "Ulinus":
            raise StoreUnavailable("busy")
        return await user(name)

    with monkeypatch.context() as patch:
        patch.setattr(api.dc.view, "user", failing)
        results = await send(ada, [*items("one"), *items("x", to="Ulinus"), *items("two")])
    assert codes(results) == ["", "store_unavailable", "store_unavailable"]
    assert await texts(ada) == ["one"]


@pytest.mark.parametrize(("happened", "code"), [(False, "log_unavailable"), (True, "outcome_unknown")])
async def test_a_group_that_fails_is_repeated_whole_and_written_once(
    ada: User, faults: Faults, happened: bool, code: str
) -> None:
    batch = [*items("one"), *items("x", to="Unobody"), *items("two")]
    faults.commit.append((None, OutcomeUnknown()) if happened else (LogUnavailable(retry_after_s=1), None))
    assert codes(await send(ada, batch)) == [code, code, code], "from the first on: it was not known yet"
    assert await texts(ada) == (["one", "two"] if happened else [])
    assert codes(await send(ada, batch)) == ["", "not_found", ""]
    assert await texts(ada) == ["one", "two"]


async def test_what_was_answered_before_is_answered_again_among_new_ones(ada: User, faults: Faults) -> None:
    first = await send(ada, items("one", "two"))
    again = await send(ada, [*items("one"), *items("new"), *items("two"), {**items("one")[0], "text": "other"}])
    assert [again[0], again[2]] == first
    assert codes(again) == ["", "", "", "key_reused"]
    assert faults.groups[1:] == [["key-new"]]


async def test_a_key_twice_in_a_batch_is_one_message_also_when_it_fails(ada: User, faults: Faults) -> None:
    batch = [*items("one", "two", "one"), {**items("two")[0], "text": "other"}, *items("three")]
    faults.commit.append((LogUnavailable(retry_after_s=1), None))
    assert codes(await send(ada, batch)) == ["log_unavailable"] * 5
    results = await send(ada, batch)
    assert codes(results) == ["", "", "", "key_reused", ""]
    assert results[0] == results[2]
    assert await texts(ada) == ["one", "two", "three"]


class Held:
    """A single write under key-two that waits in its commit until it is let go."""

    def __init__(self, api: ApiDc, user: User, patch: pytest.MonkeyPatch) -> None:
        self._commit = api.dc.writer.commit
        self._reached, self._go = asyncio.Event(), asyncio.Event()
        self._error: PlanBError | None = None
        patch.setattr(api.dc.writer, "commit", self._wait)
        body = {"to": "Ugrace", "text": "two"}
        self.call = asyncio.create_task(user.call("POST", "/v1/messages", body, Idempotency_Key="key-two"))

    async def reached(self) -> None:
        await self._reached.wait()

    def let_go(self, error: PlanBError | None = None) -> None:
        self._error = error
        self._go.set()

    async def _wait(self, *write: Any) -> Any:
        self._reached.set()
        await self._go.wait()
        if self._error is not None:
            raise self._error
        return await self._commit(*write)


@pytest.mark.parametrize("error", [None, LogUnavailable(retry_after_s=1)])
async def test_a_key_that_another_request_is_working_on_keeps_its_place(
    api: ApiDc, ada: User, faults: Faults, monkeypatch: pytest.MonkeyPatch, error: PlanBError | None
) -> None:
    held = Held(api, ada, monkeypatch)
    await held.reached()
    batch = asyncio.create_task(send(ada, items("one", "two", "three")))
    await faults.written.wait()
    assert await texts(ada) == ["one"], "what stands before it is not held up"
    held.let_go(error)
    status = (await held.call).status
    if error is None:
        assert (status, codes(await batch)) == (200, ["", "", ""])
    else:
        assert (status, codes(await batch)) == (503, ["", "log_unavailable", "log_unavailable"])
        assert codes(await send(ada, items("two", "three"))) == ["", ""]
    assert await texts(ada) == ["one", "two", "three"]


async def test_batches_that_share_keys_in_opposite_order_do_not_wait_for_each_other(api: ApiDc, ada: User) -> None:
    names = [f"m{number}" for number in range(20)]
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*(send(ada, items(*order)) for order in (names, names[::-1]) * 3))
    for results in outcomes:
        assert codes(results) == [""] * len(names)
    assert len({frozenset(result["id"] for result in results) for results in outcomes}) == 1
    assert sorted(await texts(ada)) == sorted(names)
    assert not api.parts.writes.running


async def test_what_is_not_here_yet_stops_the_rest(api: ApiDc, ada: User) -> None:
    cursor = (await ada.ok("GET", "/v1/state"))["cursor"]
    opened = api.parts.cursors.open(cursor, "Uada")
    ahead = Lane(9, 0, 0).number
    opened.v[ahead] = 1 << 40 | ahead
    cursor = api.parts.cursors.seal(opened)
    results = await send(ada, [*items("one"), *items("x", to="G7"), *items("two")], X_Cursor=cursor)
    assert codes(results) == ["", "not_yet_here", "not_yet_here"]
    assert await texts(ada) == ["one"]


async def test_remote_durability_is_waited_for_once(api: ApiDc, ada: User) -> None:
    api.remote.holds = True
    results = await send(ada, items("one", "two", "three"), Prefer="durability=remote")
    assert [result["durability"] for result in results] == ["remote"] * 3
    assert api.remote.waits == [(api.dc.lane, api.dc.applier.progress.applied[api.dc.lane].seq)]


async def test_a_request_that_is_cancelled_leaves_no_key_taken(
    api: ApiDc, ada: User, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def never(writes: Any) -> Any:
        started.set()
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(api.dc.writer, "commit_many", never)
        with pytest.raises(Exception, match=r".*"):
            await send(ada, items("one", "two"))
    assert started.is_set() and not api.parts.writes.running
    assert codes(await send(ada, items("one", "two"))) == ["", ""]


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_fails_a_client_that_repeats_keeps_its_order(
    api: ApiDc, ada: User, faults: Faults, seed: int
) -> None:
    rng = random.Random(seed)
    names = [f"m{number}" for number in range(12)]
    wanted = items(*names)
    left = list(wanted)
    while left:
        faults.results = {f"key-{name}": StoreUnavailable("busy") for name in names if rng.random() < 0.12}
        before = LogUnavailable() if rng.random() < 0.3 else None
        faults.commit = [(before, OutcomeUnknown() if rng.random() < 0.3 else None)]
        results = await send(ada, left)
        left = [one for one, result in zip(left, results, strict=True) if "problem" in result]
    assert await texts(ada) == names

"""S3 on a bad day: a real server behind a proxy that refuses, delays, cuts, loses and damages."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from cli.waiting import until
from core import limits
from core.errors import NotFound, Overloaded, StoreUnavailable
from core.system import entropy
from deploy.local.seaweedfs import SeaweedFS
from stores.adapters.s3_calls import S3Place
from stores.adapters.s3_objects import MARK, S3Objects
from tests.support.s3 import Proxy, fresh_place, proxied

pytestmark = pytest.mark.integration
Use = Callable[[S3Objects], Awaitable[object]]
USES: dict[str, tuple[str, Use]] = {
    "put": ("PUT", lambda store: store.put("k", b"again")),
    "put_new": ("PUT", lambda store: store.put_new("other", b"1")),
    "get": ("GET", lambda store: store.get("k")),
    "exists": ("HEAD", lambda store: store.exists("k")),
    "list": ("GET", lambda store: listed(store)),
    "delete": ("DELETE", lambda store: store.delete("k")),
}
EACH_USE = pytest.mark.parametrize("use", USES)
PATIENCE_S = 5.0
PART = 5 * 1_048_576


async def listed(store: S3Objects) -> list[str]:
    return [key async for key in store.list("")]


@pytest_asyncio.fixture
async def proxy(seaweedfs: SeaweedFS) -> AsyncIterator[Proxy]:
    async with proxied(seaweedfs) as opened:
        yield opened


@pytest.fixture
def place(seaweedfs: SeaweedFS, proxy: Proxy, tmp_path: Path) -> S3Place:
    return fresh_place(seaweedfs, tmp_path, proxy.url)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the store is opened."""
    monkeypatch.setattr(limits, "S3_CALL_S_MAX", PATIENCE_S)
    monkeypatch.setattr(limits, "S3_SILENT_S_MAX", 1.5)


@pytest_asyncio.fixture
async def store(place: S3Place, proxy: Proxy) -> AsyncIterator[S3Objects]:
    """With an object `k`."""
    opened = await S3Objects.open(place, entropy)
    await opened.put("k", b"first")
    proxy.seen.clear()
    yield opened
    await opened.close()


# -- what passes


@EACH_USE
@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests")])
async def test_what_a_server_can_not_do_now_is_tried_again(
    store: S3Objects, proxy: Proxy, use: str, status: int, code: str
) -> None:
    method, call = USES[use]
    fault = proxy.on(method, "", status=status, code=code, times=3)
    await call(store)
    assert fault.times == 0
    assert len([found for found, _ in proxy.seen if found == method]) >= 4


@EACH_USE
async def test_a_connection_that_is_cut_is_opened_again(store: S3Objects, proxy: Proxy, use: str) -> None:
    method, call = USES[use]
    fault = proxy.on(method, "", cut=True, times=2)
    await call(store)
    assert fault.times == 0


@EACH_USE
@pytest.mark.usefixtures("impatient")
async def test_a_server_that_is_silent_is_asked_again(store: S3Objects, proxy: Proxy, use: str) -> None:
    method, call = USES[use]
    fault = proxy.on(method, "", hangs=True)
    await call(store)
    assert fault.times == 0


async def test_a_server_that_comes_back_in_time_was_never_down(store: S3Objects, proxy: Proxy) -> None:
    await proxy.close()
    asked = asyncio.create_task(store.get("k"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asked), 0.3)
    await proxy.open()
    assert await asked == b"first"


async def test_conflicting_conditional_writes_are_tried_again(store: S3Objects, proxy: Proxy) -> None:
    proxy.on("PUT", "", status=409, code="ConditionalRequestConflict", times=2)
    assert await store.put_new("other", b"1") is True


# -- what does not


@EACH_USE
@pytest.mark.usefixtures("impatient")
async def test_a_server_that_is_down_is_named_in_time(store: S3Objects, proxy: Proxy, use: str) -> None:
    await proxy.close()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match=rf"object.* in s3://\S+: .*{proxy.url}.*tried \d+ times"):
        await USES[use][1](store)
    assert time.monotonic() - begun < 2 * PATIENCE_S
    await proxy.open()
    await USES[use][1](store)


@EACH_USE
@pytest.mark.usefixtures("impatient")
async def test_a_server_that_stays_overloaded_is_named(store: S3Objects, proxy: Proxy, use: str) -> None:
    method, call = USES[use]
    proxy.on(method, "", status=503, code="SlowDown", times=1_000)
    with pytest.raises(StoreUnavailable, match=r"(SlowDown|503) .*tried \d+ times"):
        await call(store)


@EACH_USE
async def test_a_refusal_is_not_tried_again(store: S3Objects, proxy: Proxy, use: str) -> None:
    method, call = USES[use]
    fault = proxy.on(method, "", status=403, code="AccessDenied", times=1_000)
    with pytest.raises(StoreUnavailable, match=r"AccessDenied as the test says|403 Forbidden"):
        await call(store)
    assert fault.times == 999


@pytest.mark.usefixtures("impatient")
async def test_who_only_asks_whether_it_is_there_is_told_soon(
    place: S3Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "S3_ASK_S_MAX", 1.0)
    await proxy.close()
    begun = time.monotonic()
    for create in (True, False):
        with pytest.raises(StoreUnavailable, match="its mark in s3://"):
            await S3Objects.open(place, entropy, create=create)
    assert time.monotonic() - begun < PATIENCE_S


# -- writes of which nobody knows


async def test_a_new_object_whose_answer_was_lost_was_written_by_us(store: S3Objects, proxy: Proxy) -> None:
    lost = proxy.on("PUT", "other", lost=True)
    assert await store.put_new("other", b"1") is True
    assert lost.times == 0
    assert await store.get("other") == b"1"
    assert await store.put_new("other", b"1") is False, "the same bytes, but another write"


async def test_a_new_object_that_another_wrote_meanwhile_is_not_ours(
    store: S3Objects, proxy: Proxy, seaweedfs: SeaweedFS, place: S3Place
) -> None:
    """The first try was cut off before the server saw it; the same bytes came from somebody else."""

    def meanwhile() -> None:
        seaweedfs.client().put_object(Bucket=place.bucket, Key=f"{place.prefix}/other", Body=b"1")

    proxy.on("PUT", "other", cut=True, then=meanwhile)
    assert await store.put_new("other", b"1") is False


async def test_a_look_at_who_wrote_it_may_fail_too(store: S3Objects, proxy: Proxy) -> None:
    proxy.on("PUT", "other", lost=True)
    proxy.on("HEAD", "other", status=503, times=2)
    assert await store.put_new("other", b"1") is True


async def test_a_first_refusal_needs_no_second_look(store: S3Objects, proxy: Proxy) -> None:
    assert await store.put_new("k", b"first") is False
    assert [method for method, _ in proxy.seen] == ["PUT"]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "S3_WHOLE_BYTES_MAX", PART)
    monkeypatch.setattr(limits, "S3_PART_BYTES", PART)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("fault", ["lost", "cut", "status"])
@pytest.mark.parametrize("step", ["uploads", "partNumber=2", "completed"])
async def test_a_big_object_is_written_over_every_fault(store: S3Objects, proxy: Proxy, fault: str, step: str) -> None:
    data = entropy(PART + 1)
    how = {"lost": True} if fault == "lost" else {"cut": True} if fault == "cut" else {"status": 500}
    method = "PUT" if step == "partNumber=2" else "POST"
    part = {"uploads": "big?uploads", "completed": "big?uploadId"}.get(step, step)
    met = proxy.on(method, part, **how)
    await store.put("big", data)
    assert met.times == 0
    assert await store.get("big") == data


@pytest.mark.usefixtures("parts", "impatient")
async def test_a_big_object_that_could_not_be_written_leaves_nothing(
    store: S3Objects, proxy: Proxy, seaweedfs: SeaweedFS, place: S3Place
) -> None:
    proxy.on("PUT", "partNumber=2", status=503, code="SlowDown", times=1_000)
    with pytest.raises(StoreUnavailable, match=r"object big .*SlowDown"):
        await store.put("big", entropy(PART + 1))
    assert await listed(store) == ["k"]
    unfinished = seaweedfs.client().list_multipart_uploads(Bucket=place.bucket, Prefix=place.prefix)
    assert unfinished.get("Uploads", []) == []


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("how", [{"lost": True}, {"cut": True}, {"status": 500}])
async def test_a_big_new_object_is_known_to_be_ours(store: S3Objects, proxy: Proxy, how: dict[str, object]) -> None:
    data = entropy(PART + 1)
    met = proxy.on("PUT", "big", **how)
    assert await store.put_new("big", data) is True
    assert met.times == 0
    assert await store.put_new("big", data) is False
    assert await store.get("big") == data


@pytest.mark.usefixtures("parts")
async def test_a_completion_whose_answer_was_lost_and_whose_upload_is_forgotten_was_ours(
    store: S3Objects, proxy: Proxy
) -> None:
    """As AWS answers; SeaweedFS remembers it."""
    data = entropy(PART + 1)
    proxy.on("POST", "big?uploadId", lost=True)
    again = proxy.on("POST", "big?uploadId", status=404, code="NoSuchUpload")
    await store.put("big", data)
    assert again.times == 0
    assert await store.get("big") == data


@pytest.mark.usefixtures("parts")
async def test_an_upload_that_is_forgotten_before_it_was_completed_is_an_error(store: S3Objects, proxy: Proxy) -> None:
    proxy.on("POST", "big?uploadId", status=404, code="NoSuchUpload")
    with pytest.raises(StoreUnavailable, match=r"object big .*NoSuchUpload"):
        await store.put("big", entropy(PART + 1))


# -- bytes that are not what they were


@pytest.mark.parametrize("how", [{"short": 3}, {"short": 0}, {"flips": "answer"}])
async def test_a_body_that_was_damaged_on_the_way_is_fetched_again(
    store: S3Objects, proxy: Proxy, how: dict[str, object]
) -> None:
    fault = proxy.on("GET", "k", **how)
    assert await store.get("k") == b"first"
    assert fault.times == 0


@pytest.mark.parametrize("times", [2, 3])
async def test_a_body_that_comes_short_again_and_again_is_no_body(store: S3Objects, proxy: Proxy, times: int) -> None:
    """Twice the same wrong bytes would be what the server holds; a part of them never is."""
    proxy.on("GET", "k", short=3, times=times)
    assert await store.get("k") == b"first"


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_never_comes_whole_is_an_outage(store: S3Objects, proxy: Proxy) -> None:
    proxy.on("GET", "k", short=3, times=1_000)
    with pytest.raises(StoreUnavailable, match=r"object k .*tried \d+ times"):
        await store.get("k")


@pytest.mark.parametrize("data", [b"hello", b"x" * 2_000_000])
async def test_a_body_that_was_damaged_on_its_way_up_is_sent_again(store: S3Objects, proxy: Proxy, data: bytes) -> None:
    fault = proxy.on("PUT", "other", flips="request")
    assert await store.put_new("other", data) is True
    assert fault.times == 0
    assert await store.get("other") == data


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_drips_ends_at_the_deadline(
    store: S3Objects, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("long", b"x" * 1_000)
    monkeypatch.setattr(limits, "S3_CALL_S_MAX", 0.5)
    proxy.on("GET", "long", drip_s=0.05, times=1_000)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"object long .*it takes too long"):
        await store.get("long")
    assert time.monotonic() - begun < 5.0


# -- bounds


async def test_more_calls_than_may_wait_are_refused(
    store: S3Objects, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_QUEUE_MAX", 2)
    hung = proxy.on("GET", "k", hangs=True, times=2)
    calls = [asyncio.create_task(store.get("k")) for _ in range(2)]

    async def both_hang() -> bool:
        return hung.times == 0

    assert await until(both_hang, 10.0)
    with pytest.raises(Overloaded):
        await store.get("k")
    await proxy.close()
    await proxy.open()
    assert await asyncio.gather(*calls) == [b"first", b"first"]
    assert await store.get("k") == b"first"


async def test_more_calls_than_threads_are_all_made(store: S3Objects) -> None:
    count = 5 * limits.S3_THREADS
    await asyncio.gather(*(store.put(f"n/{n}", bytes([n])) for n in range(count)))
    assert await asyncio.gather(*(store.get(f"n/{n}") for n in range(count))) == [bytes([n]) for n in range(count)]


@pytest.mark.usefixtures("impatient")
async def test_a_closed_store_tries_nothing_again(store: S3Objects, proxy: Proxy) -> None:
    hung = proxy.on("GET", "k", hangs=True, times=1_000)
    calls = [asyncio.create_task(store.get("k")) for _ in range(limits.S3_THREADS + 1)]

    async def asked() -> bool:
        return hung.times < 1_000

    assert await until(asked, 10.0)
    await store.close()
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.get("k")
    await store.close()


async def test_who_goes_away_does_not_take_a_thread_with_him(store: S3Objects, proxy: Proxy) -> None:
    hung = proxy.on("GET", "k", hangs=True, times=limits.S3_THREADS)
    calls = [asyncio.create_task(store.get("k")) for _ in range(limits.S3_THREADS)]

    async def all_hang() -> bool:
        return hung.times == 0

    assert await until(all_hang, 10.0)
    for call in calls:
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    await proxy.close()
    await proxy.open()
    assert await store.get("k") == b"first"


async def test_a_missing_object_is_told_from_a_missing_store(store: S3Objects, proxy: Proxy) -> None:
    with pytest.raises(NotFound, match="no object absent"):
        await store.get("absent")
    assert [method for method, _ in proxy.seen] == ["GET", "HEAD"]
    proxy.on("HEAD", MARK, status=404)
    with pytest.raises(StoreUnavailable, match="vanished"):
        await store.get("absent")

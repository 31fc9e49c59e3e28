"""What the internal listener refuses, and that a refusal changes nothing."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from api.internal_auth import InternalAuth
from core.errors import LinkFailed
from core.event import Event
from core.ids import Lane, make_id, tick_at
from core.system import entropy, wall_clock_ms
from events.codec import codec
from events.record import GENESIS, KIND_EVENT, Record, chain, encode
from events.signing import Signer
from replicator.link import ClocksApart, HttpLink
from replicator.wire import PullRequest, decode_answer, encode_request
from tests.support.dc import ACTIONS
from tests.support.replicated import KEY, NUMBERS, SEEDS, ReplicatedDc, World, forged
from tests.support.signed_lanes import groups

AMS_LANE = Lane(NUMBERS["ams"], 0, 0).number


@pytest.fixture
async def fra() -> AsyncIterator[ReplicatedDc]:
    """A DC alone: nobody pulls, records come by hand."""
    async with World("fra") as world:
        yield world["fra"]


def upserts(count: int, first: int = 1, before: bytes = GENESIS, lane: int = AMS_LANE, tag: str = "n") -> list[Record]:
    """`user.upsert` events of ams, from seq `first`; the last one signed."""
    records = []
    tick = tick_at(wall_clock_ms() - 60_000)
    args = ACTIONS["user.upsert"].Args
    for seq in range(first, first + count):
        id = make_id(tick + seq, lane)
        body = codec().encode(
            Event(
                id,
                "user.upsert",
                1,
                "sys",
                f"k{seq}",
                b"12345678",
                args(user=f"U{seq}", fields={"name": tag}, basis={}),
            )
        )
        hash = chain(before, lane, seq, id, KIND_EVENT, body)
        records.append(Record(lane, seq, id, KIND_EVENT, body, hash, b""))
        before = hash
    return [*records[:-1], replace(records[-1], signature=Signer(SEEDS["ams"]).sign(before))]


async def post(dc: ReplicatedDc, records: list[Record], origin: str | None = "ams") -> tuple[int, dict[str, Any]]:
    headers = {"dc": origin} if origin is not None else {}
    code, body = await dc.call("POST", "/sys/v1/replay", b"".join(map(encode, records)), **headers)
    return code, msgspec.json.decode(body)


async def everything(dc: ReplicatedDc) -> tuple[Any, ...]:
    return await dc.total(), dc.applied(), dict(await dc.log.tops()), dc.progress.v(), dc.progress.parked


async def test_a_batch_is_applied_and_may_be_repeated(fra: ReplicatedDc) -> None:
    records = upserts(3)
    assert await post(fra, records) == (200, {"applied": {str(AMS_LANE): 3}, "parked": 0})
    before = await everything(fra)
    assert await post(fra, records) == (200, {"applied": {str(AMS_LANE): 3}, "parked": 0})
    assert await everything(fra) == before
    assert await fra.log.read(AMS_LANE, 0, 9) == records, "log first"
    more = upserts(2, 4, records[-1].hash)
    assert (await post(fra, records[1:] + more))[0] == 200
    assert await fra.one.view.user("U5") is not None


async def test_several_lanes_of_one_origin_go_in_one_batch(fra: ReplicatedDc) -> None:
    other = Lane(NUMBERS["ams"], 0, 1).number
    code, answer = await post(fra, upserts(2) + upserts(3, lane=other))
    assert (code, answer["applied"]) == (200, {str(AMS_LANE): 2, str(other): 3})


GOOD = upserts(4)
REFUSALS: dict[str, tuple[Callable[[], tuple[list[Record], str | None]], int, str]] = {
    "no dc header": (lambda: (GOOD, None), 400, "invalid"),
    "an unknown DC": (lambda: (GOOD, "xxx"), 400, "invalid"),
    "another DC's lanes": (lambda: (GOOD, "nyc"), 400, "invalid"),
    "our own live lane": (
        lambda: (groups([1], lane=Lane(NUMBERS["fra"], 0, 0).number, seed=SEEDS["fra"]), "fra"),
        400,
        "invalid",
    ),
    "signed by another key": (lambda: (forged(GOOD, b"x" * 32), "ams"), 403, "bad_signature"),
    "signed by another DC": (lambda: (forged(GOOD, SEEDS["fra"]), "ams"), 403, "bad_signature"),
    "not signed at its end": (lambda: (GOOD[:3], "ams"), 403, "bad_signature"),
    "a body that was changed": (
        lambda: ([GOOD[0], replace(GOOD[1], body=GOOD[1].body + b"x"), *GOOD[2:]], "ams"),
        403,
        "bad_signature",
    ),
    "a hole inside": (lambda: ([GOOD[0], *GOOD[2:]], "ams"), 403, "bad_signature"),
    "a gap before": (lambda: (GOOD[1:], "ams"), 409, "lane_gap"),
    "another beginning": (lambda: (upserts(4, before=b"x" * 32), "ams"), 409, "lane_forked"),
    "one good lane and one wrongly signed": (
        lambda: (GOOD + forged(upserts(1, lane=Lane(NUMBERS["ams"], 0, 1).number), b"x" * 32), "ams"),
        403,
        "bad_signature",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_batch_that_is_not_proven_is_refused_and_changes_nothing(fra: ReplicatedDc, what: str) -> None:
    make, status, code = REFUSALS[what]
    before = await everything(fra)
    records, origin = make()
    found, problem = await post(fra, records, origin)
    assert (found, problem["code"], problem["type"]) == (status, code, f"urn:planb:problem:{code}")
    assert await everything(fra) == before
    assert (await post(fra, GOOD))[0] == 200, "and the truth is still taken"


async def test_a_second_history_is_refused_and_changes_nothing(fra: ReplicatedDc) -> None:
    assert (await post(fra, GOOD))[0] == 200
    before = await everything(fra)
    other = upserts(5, tag="other")
    code, problem = await post(fra, other)
    assert (code, problem["code"]) == (409, "lane_forked")
    follower = upserts(1, 5, other[3].hash)
    code, problem = await post(fra, follower)
    assert (code, problem["code"]) == (409, "lane_forked")
    assert await everything(fra) == before


async def test_a_body_that_is_not_records_is_refused(fra: ReplicatedDc) -> None:
    whole = b"".join(map(encode, GOOD))
    for body in (b"nonsense", whole[:-1], whole + b"\0"):
        code, answer = await fra.call("POST", "/sys/v1/replay", body, dc="ams")
        assert (code, msgspec.json.decode(answer)["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sys/v1/replay"), ("POST", "/sys/v1/pull"), ("GET", "/sys/v1/status"), ("GET", "/sys/v1/tops"),
        ("GET", "/sys/v1/digest"), ("GET", "/sys/v1/parked"), ("POST", "/sys/v1/parked/retry"),
        ("POST", "/sys/v1/hot/rebuild"), ("GET", "/sys/v1/conflicts"), ("GET", "/sys/v1/events/7"),
        ("GET", "/sys/v1/conflicts/undo"), ("POST", "/sys/v1/conflicts/undo"), ("PUT", "/sys/v1/users/Uada"),
        ("POST", "/sys/v1/tokens"), ("GET", "/sys/v1/none"), ("GET", f"/sys/v1/files/{'0' * 64}"),
        ("POST", "/sys/v1/scheduled/take"), ("POST", "/sys/v1/scheduled/fail"),
    ],
)  # fmt: skip
async def test_every_call_needs_a_signature(fra: ReplicatedDc, method: str, path: str) -> None:
    url = f"http://127.0.0.1:{fra.port}{path}"
    foreign = InternalAuth(b"another key, long enough", "ams", wall_clock_ms).sign("fra", method, path, b"")
    elsewhere = InternalAuth(KEY, "ams", wall_clock_ms).sign("nyc", method, path, b"")
    for headers in ({}, {"Authorization": "Bearer PB1.x.y"}, foreign, elsewhere):
        async with fra.session.request(method, url, headers=headers) as response:
            problem = msgspec.json.decode(await response.read())
            assert (response.status, problem["code"]) == (401, "unauthenticated")
            assert response.content_type == "application/problem+json"
            assert response.headers["WWW-Authenticate"] == "PlanB-HMAC"


async def test_who_is_out_of_time_is_told_our_time_under_a_signature(fra: ReplicatedDc) -> None:
    """So a datacenter whose clock is wrong by more than a signature may be old can still learn it."""
    url = f"http://127.0.0.1:{fra.port}"

    def link(key: bytes) -> HttpLink:
        return HttpLink(fra.session, "fra", url, InternalAuth(key, "ams", lambda: wall_clock_ms() - 3_600_000))

    with pytest.raises(ClocksApart, match="ms apart") as refused:
        await link(KEY).pull(PullRequest(dc="ams"))
    assert abs(refused.value.wall_ms - wall_clock_ms()) < 5_000
    with pytest.raises(LinkFailed, match="not signed with the shared key"):
        await link(b"another key, long enough").pull(PullRequest(dc="ams"))


async def test_liveness_readiness_and_metrics_are_open(fra: ReplicatedDc) -> None:
    for path, word in (("/livez", "alive"), ("/readyz", "ready"), ("/metrics", "planb_replay_behind_records 0")):
        async with fra.session.get(f"http://127.0.0.1:{fra.port}{path}") as response:
            assert response.status == 200
            assert word in await response.text()


async def test_a_pull_is_for_the_one_who_signs_it(fra: ReplicatedDc) -> None:
    body = encode_request(PullRequest(dc="ams"))
    code, _ = await fra.call("POST", "/sys/v1/pull", body)
    assert code == 403
    auth = InternalAuth(KEY, "ams", wall_clock_ms)
    url = f"http://127.0.0.1:{fra.port}/sys/v1/pull"
    async with fra.session.post(url, data=body, headers=auth.sign("fra", "POST", "/sys/v1/pull", body)) as response:
        header, records = decode_answer(await response.read())
    assert (header.dc, [record.seq for record in records]) == ("fra", [1])


async def test_the_customers_system_makes_users_and_opens_sessions(fra: ReplicatedDc) -> None:
    code, body = await fra.call("PUT", "/sys/v1/users/Uada", b'{"name": "Ada"}')
    assert code == 200, body
    key = {"Idempotency-Key": entropy(8).hex()}
    wanted = b'{"user": "Uada", "device": "phone"}'
    code, body = await fra.call("POST", "/sys/v1/tokens", wanted, **key)
    answer = msgspec.json.decode(body)
    assert (code, answer["user"]) == (200, "Uada")
    assert answer["token"].count(".") == 2
    assert answer["refresh_token"].startswith("PR1.")
    code, body = await fra.call("POST", "/sys/v1/tokens", wanted, **key)
    again = msgspec.json.decode(body)
    assert (again["id"], again["session"]) == (answer["id"], answer["session"]), "a retry names the same session"
    code, body = await fra.call("POST", "/sys/v1/tokens", b'{"user": "Unobody", "device": "phone"}')
    assert (code, msgspec.json.decode(body)["code"]) == (404, "not_found")


async def test_a_captured_write_is_not_done_again(fra: ReplicatedDc) -> None:
    path, url = "/sys/v1/users/Uada", f"http://127.0.0.1:{fra.port}/sys/v1/users/Uada"
    captured = {}
    for number, name in enumerate((b"Ada", b"Augusta")):
        body = b'{"name": "%b"}' % name
        headers = fra.auth.sign("fra", "PUT", path, body, {"Idempotency-Key": f"k{number}"})
        captured[body] = headers
        async with fra.session.put(url, data=body, headers=headers) as answer:
            assert answer.status == 200
    before = await everything(fra)
    old, new = captured
    for body, headers, status, code in (
        (old, captured[old], 409, "already_received"),
        (old, captured[old] | {"Idempotency-Key": "k2"}, 401, "unauthenticated"),
        (old, {k: v for k, v in captured[old].items() if k != "Idempotency-Key"}, 401, "unauthenticated"),
        (old, captured[new], 409, "already_received"),
        (old, fra.auth.sign("fra", "PUT", path, new), 401, "unauthenticated"),
    ):
        async with fra.session.put(url, data=body, headers=headers) as answer:
            problem = msgspec.json.decode(await answer.read())
            assert (answer.status, problem["code"]) == (status, code)
    assert await everything(fra) == before
    user = await fra.one.view.user("Uada")
    assert user is not None and user.name == "Augusta"


async def test_of_a_sender_without_the_key_no_body_is_read(fra: ReplicatedDc) -> None:
    """It would be unpacked, hashed and kept: the answer comes at the head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fra.port)
    foreign = InternalAuth(b"another key, long enough", "ams", wall_clock_ms)
    lines = ["POST /sys/v1/replay HTTP/1.1", "Host: x", "Content-Length: 1000000", "Content-Encoding: gzip", "dc: ams"]
    lines += [f"Authorization: {foreign.sign('fra', 'POST', '/sys/v1/replay', b'')['Authorization']}", "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(5):
        assert b" 401 " in await reader.readline()
    writer.close()


async def test_a_compressed_body_is_refused(fra: ReplicatedDc) -> None:
    packed = gzip.compress(b"".join(map(encode, GOOD)))
    code, body = await fra.call("POST", "/sys/v1/replay", packed, **{"dc": "ams", "Content-Encoding": "gzip"})
    assert (code, msgspec.json.decode(body)["code"]) == (400, "invalid")


async def test_status_tops_digest_and_conflicts_answer(fra: ReplicatedDc) -> None:
    await post(fra, GOOD)
    code, body = await fra.call("GET", "/sys/v1/status")
    status = msgspec.json.decode(body)
    assert (code, status["dc"], status["lanes"]) == (200, "fra", ["fra/0.0"])
    assert status["applied"] == status["durable"] == {"fra/0.0": 1, "ams/0.0": 4}
    assert status["v"]["ams/0.0"] == str(GOOD[-1].id)
    code, body = await fra.call("GET", "/sys/v1/tops")
    assert msgspec.json.decode(body)["applied"] == {str(fra.lane): 1, str(AMS_LANE): 4}
    code, body = await fra.call("GET", "/sys/v1/digest?wait=ams/0.0:4,fra/0.0:1")
    answer = msgspec.json.decode(body)
    assert (code, answer["digest"]["total"], answer["parked"]) == (200, await fra.total(), 0)
    for wrong in ("?wait=4", "?wait=ams/0.0:x", "?wait=zzz/0.0:1", "?other=1"):
        code, body = await fra.call("GET", "/sys/v1/digest" + wrong)
        assert code == 400
    code, body = await fra.call("GET", "/sys/v1/conflicts")
    assert (code, msgspec.json.decode(body)) == (200, {"conflicts": [], "more": None})
    for wrong in ("conflicts?limit=0", "conflicts?before=x", "conflicts?since_ms=-1", "conflicts?other=1", "events/0"):
        assert (await fra.call("GET", f"/sys/v1/{wrong}"))[0] == 400, wrong


async def test_an_answer_of_somebody_without_the_key_is_not_believed() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        link = ams.links["fra"]
        assert (await link.pull(PullRequest(dc="ams")))[0].dc == "fra"
        fra.auth._key = b"the key was changed on one side"
        with pytest.raises(Exception, match=r"not signed with the shared key"):
            await link.pull(PullRequest(dc="ams"))


async def test_a_gap_to_what_is_applied_is_a_gap_though_the_log_holds_more(fra: ReplicatedDc) -> None:
    fra.disks.relational.failing = True
    lane = upserts(2)
    lane += upserts(2, 3, lane[-1].hash)
    await fra.log.store(lane)
    code, problem = await post(fra, lane[2:])
    assert (code, problem["code"], problem["applied"]) == (409, "lane_gap", 0)
    fra.disks.relational.failing = False
    assert (await post(fra, lane[:2]))[0] == 200
    await fra.reached({AMS_LANE: 4})

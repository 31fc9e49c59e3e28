"""Plain writes of one tick of the loop: each has what it would have had alone, at the same time as the others."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from email.parser import Parser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.door import Door
from api.front import Front, Plain, Wire
from api.intentions import Running
from api.metrics import Metrics
from api.plain_request import Request
from core import limits
from core.errors import LogUnavailable, OutcomeUnknown, StoreUnavailable
from core.system import wall_clock_ms
from stores.at_hand import NotAtHand, at_hand, at_once
from stores.ports import EpochLost
from tests.support.api import ApiDc, api_dc

PATH = "/v1/messages"
Shown = tuple[int, dict[str, str], dict[str, Any]]


class Asker:
    """A connection, as the front sees it."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def answer(self, answer: bytes, now: float) -> None:
        self.told.append(answer)

    @property
    def shown(self) -> Shown:
        (answer,) = self.told
        head, _, body = answer.decode().partition("\r\n\r\n")
        status, _, lines = head.partition("\r\n")
        return int(status.split()[1]), dict(Parser().parsestr(lines)), json.loads(body)


class Alone:
    """Begins nothing: everything is answered alone."""

    def __init__(self, plain: Plain) -> None:
        self.alone = plain.alone

    def begin(self, headers: Mapping[str, str], body: bytes, now_ms: int) -> None:
        return None

    async def finish(self, begun: Sequence[Any]) -> list[Wire | Exception]:
        raise AssertionError("nothing was begun")


class World:
    def __init__(self, api: ApiDc, group: str) -> None:
        self.api = api
        self.group = group
        self.tokens = {user: api.user(user).token for user in ("Uada", "Ulinus")} | {"nobody": "PB1.a.b"}
        self._fronts = {alone: self._front(alone) for alone in (False, True)}
        self.examples = 0

    def _front(self, alone: bool) -> Front:
        plain = self.api.parts.plain[PATH]

        def framework() -> asyncio.Protocol:
            raise AssertionError("all requests are plain")

        routes = {PATH: Alone(plain) if alone else plain}
        return Front(routes, self.api.parts.guard, framework, lambda: True, wall_clock_ms, Door(9, Metrics()))

    async def tick(self, requests: Sequence[Request], *, alone: bool = False) -> list[Shown]:
        """The answers to what comes in one tick."""
        front, askers = self._fronts[alone], [Asker() for _ in requests]
        metrics = self.api.parts.metrics
        counted, _ = metrics.answered()
        for asker, request in zip(askers, requests, strict=True):
            front.ask(asker, request)  # type: ignore[arg-type]
        await front.answered(10)
        assert (metrics.answered()[0] - counted, metrics.in_flight) == (len(requests), 0)
        return [asker.shown for asker in askers]

    def request(self, sender: str = "Uada", to: str = "Ugrace", text: str = "Hello", **headers: str) -> Request:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps({"to": self.group if to == "group" else to, "text": text}).encode()
        return Request(PATH, {"Authorization": f"Bearer {self.tokens[sender]}", **named}, body)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace", "Ulinus")
        made = await api.user("Uada").ok("POST", "/v1/chats", {"kind": "group", "title": "t", "users": ["Ugrace"]})
        api.remote.holds = True
        yield World(api, made["chat"])


def comparable(all_shown: Sequence[Shown]) -> list[Any]:
    """Without what differs from call to call; of ids, which are the same."""
    ids: dict[str, int] = {}
    found = []
    for status, headers, body in all_shown:
        names = {name: value for name, value in headers.items() if name not in ("Date", "X-Clock", "Content-Length")}
        body = {name: value for name, value in body.items() if name != "request"}
        if "id" in body:
            body["id"] = ids.setdefault(body["id"], len(ids))
        found.append((status, "X-Clock" in headers, names, body))
    return found


one = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(["Uada", "Uada", "Ulinus", "nobody"]),
        "to": st.sampled_from(["Ugrace", "Ulinus", "Unobody", "group", "G7", "?"]),
        "text": st.sampled_from(["Hello", "Hello", "other", "", "x" * (limits.MESSAGE_BYTES_MAX + 1)]),
    },
    optional={
        "Idempotency_Key": st.sampled_from(["old", "k1", "k1", "k2", "a b"]),
        "Prefer": st.sampled_from(["durability=local", "durability=remote", "durability=forever"]),
        "X_Clock": st.just("PX1.AAAA.BBBB"),
        "X_Cursor": st.just("PC1.AAAA.BBBB"),
    },
)
faults = st.sampled_from([None, None, None, "results", "epoch", "defect", "log", "unknown", "cold"])
ERRORS = {
    "results": StoreUnavailable("busy", retry_after_s=3),
    "epoch": EpochLost("gone"),
    "defect": RuntimeError("a defect"),
    "log": LogUnavailable(retry_after_s=1),
    "unknown": OutcomeUnknown(),
}


async def test_a_tick_answers_as_each_alone(world: World) -> None:
    api, monkeypatch = world.api, pytest.MonkeyPatch()

    async def failing(*_: Any) -> None:
        raise ERRORS[str(fault)]

    async def asked(all_fields: Sequence[dict[str, str]], alone: bool) -> list[Shown]:
        side = f"{world.examples}-{alone}-"
        await world.tick([world.request(Idempotency_Key=f"{side}old")])
        requests = []
        for fields in all_fields:
            keyed = {"Idempotency_Key": side + fields["Idempotency_Key"]} if "Idempotency_Key" in fields else {}
            requests.append(world.request(**{**fields, **keyed}))
        with monkeypatch.context() as patch:
            if fault in ("results", "epoch", "defect"):
                for name in ("result", "results_of"):
                    patch.setattr(api.dc.hot, name, failing)
            if fault in ("log", "unknown"):
                for name in ("commit", "commit_each"):
                    patch.setattr(api.dc.writer, name, failing)
            if fault == "cold":
                api.dc.view._cache.clear()
            shown = await world.tick(requests, alone=alone)
        assert not api.parts.writes.running, "no key stays taken"
        assert api.parts.metrics.in_flight == 0
        return shown

    fault: str | None = None

    async def example(all_fields: Sequence[dict[str, str]], wrong: str | None) -> None:
        nonlocal fault
        fault = wrong
        world.examples += 1
        together, alone = await asked(all_fields, False), await asked(all_fields, True)
        assert comparable(together) == comparable(alone)

    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None)
    @given(st.lists(one, min_size=1, max_size=6), faults)
    def examples(all_fields: Sequence[dict[str, str]], wrong: str | None) -> None:
        asyncio.run_coroutine_threadsafe(example(all_fields, wrong), loop).result(30)

    await asyncio.to_thread(examples)


async def test_a_tick_is_one_look_and_one_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    commits: list[int] = []
    results_of, commit_each = world.api.dc.hot.results_of, world.api.dc.writer.commit_each

    async def look(asked: Any) -> Any:
        looks.append(len(asked))
        return await results_of(asked)

    async def commit(writes: Any) -> Any:
        commits.append(len(writes))
        return await commit_each(writes)

    await world.tick([world.request(sender) for sender in ("Uada", "Ulinus")])  # now all is at hand
    monkeypatch.setattr(world.api.dc.hot, "results_of", look)
    monkeypatch.setattr(world.api.dc.writer, "commit_each", commit)
    requests = [world.request(sender, Idempotency_Key=f"k{n}") for n, sender in enumerate(("Uada", "Ulinus") * 60)]
    shown = await world.tick([*requests, world.request()])
    assert {status for status, _, _ in shown} == {200}
    ids = [int(body["id"]) for _, _, body in shown]
    assert ids == sorted(ids), "in the order in which they came"
    assert (sum(looks), sum(commits)) == (120, 121)
    assert len(looks) == len(commits) == 2, "parts of TICK_REQUESTS_MAX"


async def test_who_comes_with_a_key_that_a_tick_works_on_gets_its_outcome(world: World) -> None:
    await world.tick([world.request()])
    first, again, other = await world.tick(
        [world.request(Idempotency_Key="k"), world.request(Idempotency_Key="k"),
         world.request(text="other", Idempotency_Key="k")]
    )  # fmt: skip
    assert first[2] == again[2]
    assert ("Idempotency-Replayed" in first[1], again[1]["Idempotency-Replayed"]) == (False, "true")
    assert other[2]["code"] == "key_reused"


async def test_an_earlier_answer_comes_before_what_would_be_refused_now(world: World) -> None:
    old = world.request(to="group", Idempotency_Key="old")
    (before,) = await world.tick([old])
    await world.api.user("Uada").ok("DELETE", f"/v1/chats/{world.group}/members/me")
    for _ in range(2):  # at the second time it is at hand that she may not
        again, other = await world.tick([old, world.request(to="group", Idempotency_Key="new")])
        assert (again[0], again[2]) == (200, before[2])
        assert other[0] == 403


async def test_a_tick_that_is_cancelled_leaves_no_key_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def never(_writes: Any) -> Any:
        began.set()
        await asyncio.Event().wait()

    await world.tick([world.request()])
    monkeypatch.setattr(world.api.dc.writer, "commit_each", never)
    front = world._fronts[False]
    front.ask(Asker(), world.request(Idempotency_Key="k"))  # type: ignore[arg-type]
    await began.wait()
    running: Running = world.api.parts.writes.running["Uada", "k"]
    waiting = asyncio.create_task(running.outcome())
    await asyncio.sleep(0)
    (task,) = front._answering
    task.cancel()
    with pytest.raises(OutcomeUnknown):
        await waiting
    assert not world.api.parts.writes.running


async def test_what_is_not_at_hand_is_not_waited_for(world: World) -> None:
    view = world.api.dc.view
    known = at_hand(view)
    view._cache.clear()
    for ask in (known.user("Uada"), known.direct("D7"), known.chat("G7"), known.roll("G7"), known.message(7)):
        with pytest.raises(NotAtHand):
            at_once(ask)
    await view.user("Uada")
    assert at_once(known.user("Uada")) == await view.user("Uada")
    roll = await view.roll(world.group)
    assert at_once(known.roll(world.group)) is roll
    view._cache["roll", world.group].stale["Ulinus"] = None
    with pytest.raises(NotAtHand):
        at_once(known.roll(world.group))
    with pytest.raises(NotAtHand):
        at_once(asyncio.sleep(0))

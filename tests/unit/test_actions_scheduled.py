"""Messages that are to be sent later: what each rule prevents, over two datacenters."""

from typing import Any

import pytest

from core import limits
from core.action import Touch
from core.errors import AccountFull, Conflict, Forbidden, Gone, Invalid, NotFound
from core.event import Event
from core.scheduled import Scheduled, key_of
from tests.support.mesh import ACTIONS, run
from tests.support.rules import A, B, C, World


@pytest.fixture
def world() -> World:
    return World()


def schedule(world: World, actor: str = A, *, dc: int = 0, key: str = "", **request: Any) -> str:
    fields = {"to": world.group, "text": "later", "at_ms": world.now_ms + 60_000} | request
    return str(world.do("message.schedule", actor, dc=dc, key=key, **fields).args.scheduled)


def found(world: World, scheduled: str, dc: int = 0) -> Scheduled:
    one = run(world.dcs[dc].view.scheduled(A, scheduled))
    assert one is not None
    return one


def send(world: World, scheduled: str, dc: int = 0) -> Event:
    return world.do("message.send", A, dc=dc, key=key_of(scheduled), **found(world, scheduled, dc).message)


def test_two_datacenters_that_send_it_send_one_message(world: World) -> None:
    """Under keys of their own, or with the request put together anew, there would be two."""
    scheduled = schedule(world, mentions=[B], content={"kind": "location", "latitude": 1, "longitude": 2.5})
    world.settle()
    first, second = send(world, scheduled, dc=0), send(world, scheduled, dc=1)
    world.settle()
    for dc in (0, 1):
        message = world.shown(first, dc)
        assert (message.id, set(message.ids)) == (first.id, {first.id, second.id})
        one = found(world, scheduled, dc)
        assert (one.state, one.sent) == ("sent", first.id)


def test_it_says_that_it_was_sent_by_the_event_that_sends_it(world: World) -> None:
    """By an event of its own, a crash between the two would send it again."""
    scheduled = schedule(world)
    sent = send(world, scheduled)
    assert found(world, scheduled).state == "sent"
    assert run(world.dcs[0].view.scheduled_of(A)) == []
    touches = ACTIONS["message.send"].touches(sent)
    assert touches == (Touch("message", (world.group, sent.id)), Touch("scheduled", (A, scheduled), A))
    world.refused(Gone, "message.send", A, key=key_of(scheduled), to=world.group, text="later")


def test_what_was_unscheduled_is_not_sent_and_what_was_sent_stays(world: World) -> None:
    scheduled = schedule(world)
    world.settle()
    world.do("message.unschedule", A, dc=1, scheduled=scheduled)
    world.refused(Gone, "message.send", A, dc=1, key=key_of(scheduled), to=world.group, text="later")
    world.refused(NotFound, "message.unschedule", A, dc=1, scheduled=scheduled)
    sent = send(world, scheduled, dc=0)  # it does not know
    world.settle()
    for dc in (0, 1):
        assert (found(world, scheduled, dc).state, world.shown(sent, dc).text) == ("sent", "later")
        world.refused(Gone, "message.unschedule", A, dc=dc, scheduled=scheduled)


def test_what_one_datacenter_has_given_up_and_another_has_sent_is_sent(world: World) -> None:
    scheduled = schedule(world)
    world.settle()
    failed = {"user": A, "scheduled": scheduled, "code": "forbidden", "detail": "no"}
    world.do("schedule.fail", "sys", dc=1, **failed)
    assert found(world, scheduled, dc=1).state == "failed"
    assert [one.failure for one in run(world.dcs[1].view.scheduled_of(A))] == [{"code": "forbidden", "detail": "no"}]
    send(world, scheduled, dc=0)
    world.settle()
    assert [found(world, scheduled, dc).state for dc in (0, 1)] == ["sent", "sent"]
    world.refused(Conflict, "schedule.fail", "sys", **failed)


def test_its_home_is_the_datacenter_that_was_asked_until_another_takes_it(world: World) -> None:
    scheduled = schedule(world, dc=1)
    world.settle()
    made = found(world, scheduled)
    assert (made.home, made.stamps["home"]) == ("dc1", made.made)
    taken = world.do("schedule.take", "sys", dc=0, user=A, scheduled=scheduled)
    assert taken.args.basis == made.made
    world.settle()
    assert [found(world, scheduled, dc).home for dc in (0, 1)] == ["dc0", "dc0"]
    world.refused(Forbidden, "schedule.take", A, user=A, scheduled=scheduled)
    world.refused(Forbidden, "schedule.fail", A, user=A, scheduled=scheduled, code="x", detail="")
    world.refused(NotFound, "schedule.take", "sys", user=B, scheduled=scheduled)
    world.do("message.unschedule", A, scheduled=scheduled)
    world.refused(Conflict, "schedule.take", "sys", user=A, scheduled=scheduled)


def test_what_arrives_before_the_row_is_kept_for_it(world: World) -> None:
    scheduled = schedule(world)
    made = world.events[-1]
    ended = world.do("message.unschedule", A, scheduled=scheduled)
    world.dcs[1].apply(ended)
    assert run(world.dcs[1].view.scheduled(A, scheduled)) is None
    world.dcs[1].apply(made)
    assert found(world, scheduled, dc=1).state == "unscheduled"


def test_what_could_not_be_sent_now_is_refused_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at_ms = world.now_ms + 60_000
    world.refused(Forbidden, "message.schedule", C, to=world.group, text="x", at_ms=at_ms)
    world.refused(Invalid, "message.schedule", A, to=world.group, at_ms=at_ms)
    for wrong in (world.now_ms, world.now_ms + limits.SCHEDULED_AHEAD_MS_MAX + 60_000):
        world.refused(Invalid, "message.schedule", A, to=world.group, text="x", at_ms=wrong)
    monkeypatch.setattr(limits, "SCHEDULED_OF_USER_MAX", 1)
    mine = schedule(world)
    world.refused(AccountFull, "message.schedule", A, to=world.group, text="x", at_ms=at_ms)
    schedule(world, B)
    world.do("message.unschedule", A, scheduled=mine)
    schedule(world)


def test_a_retry_makes_the_same_one_and_none_when_its_answer_is_forgotten(world: World) -> None:
    at_ms = world.now_ms + 60_000
    first, again = (schedule(world, dc=dc, key="k", at_ms=at_ms) for dc in (0, 1))
    assert first == again
    world.now_ms += limits.RESULT_KEPT_S * 1000
    world.refused(Conflict, "message.schedule", A, key="k", to=world.group, text="later", at_ms=at_ms + 90_000_000)


def test_it_takes_its_draft_with_it_when_it_is_scheduled(world: World) -> None:
    begun = world.do("draft.set", A, peer=world.group, text="Dear")
    scheduled = schedule(world, draft=str(begun.id))
    assert run(world.dcs[0].view.draft(A, world.group)).text == ""
    assert "draft" not in found(world, scheduled).message


def test_nobody_else_has_it(world: World) -> None:
    scheduled = schedule(world)
    world.refused(NotFound, "message.unschedule", B, scheduled=scheduled)
    world.refused(NotFound, "message.send", B, key=key_of(scheduled), to=world.group, text="later")

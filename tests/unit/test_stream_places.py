"""Who gets a stream's place, and who gives his up for it."""

import pytest

from broker.places import Places, Visit
from broker.tickets import Holder
from core import limits
from core.errors import TooMany

ADA, ADA_2, BOB = Holder("Uada", "s1", "t"), Holder("Uada", "s2", "t"), Holder("Ubob", "s3", "t")


def taken(places: Places, holder: Holder, count: int) -> list[Visit]:
    visits = [Visit(places) for _ in range(count)]
    for visit in visits:
        visit.take(holder)
    return visits


def left(places: Places, visits: list[Visit]) -> None:
    for visit in visits:
        visit.leave()
    assert not places.of_user and not places.of_session and not places.leaving


def test_a_session_s_next_stream_takes_the_place_of_its_oldest() -> None:
    places, ended = Places(), list[int]()
    visits = taken(places, BOB, 1) + taken(places, ADA_2, 1) + taken(places, ADA, limits.STREAMS_OF_SESSION_MAX)
    for number, visit in enumerate(visits):
        visit.ended_by(lambda number=number: ended.append(number))  # type: ignore[misc]
    visits += taken(places, ADA, 2)
    assert ended == [2, 3]
    assert places.of_user["Uada"] == limits.STREAMS_OF_SESSION_MAX + 1
    assert places.leaving == {"Uada": 2}
    visits.pop(2).leave()
    assert places.leaving == {"Uada": 1}
    assert [visit.displaced for visit in visits].count(True) == 1
    left(places, visits)


def test_a_stream_whose_place_went_before_it_could_be_ended_ends_as_soon_as_it_can() -> None:
    places, ended = Places(), list[str]()
    visits = taken(places, ADA, limits.STREAMS_OF_SESSION_MAX + 1)
    visits[0].ended_by(lambda: ended.append("the first"))
    visits[1].ended_by(lambda: ended.append("the second"))
    assert ended == ["the first"]
    left(places, visits)


def test_at_the_user_s_bound_only_a_session_that_has_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_OF_USER_MAX", 5)
    places = Places()
    visits = taken(places, ADA, 5)
    with pytest.raises(TooMany, match="this user"):
        Visit(places).take(ADA_2)
    assert not any(visit.displaced for visit in visits)
    visits += taken(places, ADA, 1) + taken(places, BOB, 1)
    assert [visit.displaced for visit in visits] == [True] + [False] * 6
    assert places.of_user == {"Uada": 5, "Ubob": 1}
    left(places, visits)


def test_those_that_are_being_closed_are_bounded_too() -> None:
    places = Places()
    visits = taken(places, ADA, limits.STREAMS_OF_SESSION_MAX + limits.STREAMS_LEAVING_MAX)
    refused = Visit(places)
    with pytest.raises(TooMany, match="being closed"):
        refused.take(ADA)
    assert sum(visit.displaced for visit in visits) == places.leaving["Uada"] == limits.STREAMS_LEAVING_MAX
    visits += taken(places, ADA_2, 1) + taken(places, BOB, 1)
    visits.pop(0).leave()
    refused.take(ADA)
    left(places, [*visits, refused])

"""Tickets: once each, bounded, and nobody's many throw out another's."""

import os

import pytest

from broker.tickets import Holder, Tickets
from core import limits
from core.errors import Unauthenticated


def test_many_tickets_of_one_user_throw_out_his_own_only() -> None:
    tickets = Tickets(os.urandom, lambda: 0)
    victim = Holder("Ugrace", "s1", "t")
    ticket = tickets.issue(victim)
    many = [tickets.issue(Holder("Ueve", "s2", "t")) for _ in range(limits.TICKETS_MAX)]
    assert tickets.take(ticket) == victim
    for kept in many[-limits.TICKETS_OF_USER_MAX :]:
        assert tickets.take(kept).user == "Ueve"
    with pytest.raises(Unauthenticated):
        tickets.take(many[-limits.TICKETS_OF_USER_MAX - 1])
    assert not tickets._of and not tickets._waiting


def test_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TICKETS_MAX", 3)
    tickets = Tickets(os.urandom, lambda: 0)
    made = [tickets.issue(Holder(f"U{n}", "s", "t")) for n in range(4)]
    with pytest.raises(Unauthenticated):
        tickets.take(made[0])
    assert [tickets.take(ticket).user for ticket in made[1:]] == ["U1", "U2", "U3"]
    with pytest.raises(Unauthenticated):
        tickets.take(made[1])

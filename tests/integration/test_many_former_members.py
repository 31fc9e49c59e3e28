"""Former members of a group may be thousands; what is done in it must not cost more for each of them."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core import audience
from core.membership import Membership
from core.tables import Effect
from stores.ports import RelationalBatch, Stamped
from tests.support.api import ApiDc, api_dc

FORMER, MESSAGES = 2_000, 60


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


async def group_of(api: ApiDc, former: int) -> str:
    """A group of three with messages, in which so many were and are no more."""
    ada = api.user("Uada")
    chat = str((await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}))["chat"])
    for _ in range(MESSAGES):
        at = int(await ada.send(chat, "Hello"))
    lane = api.dc.lane
    effects = []
    for n in range(former):
        key = (chat, f"Uformer{n}", lane)
        effects.append(Effect("member_adds", key, {"knew": {}}, {"knew": 0}))
        effects.append(Effect("member_kicked", key, {"kicked": at}))
    stamped = [Stamped(at, effect) for effect in effects]
    await api.dc.relational.apply(RelationalBatch(stamped, (), (), (), {}))
    api.dc.view.invalidate(stamped)
    return chat


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the audience rule was asked, and anybody's registers were looked at."""
    found: Counter[str] = Counter()
    owed, live_adds, knowledge = audience.owed, Membership.live_adds, Membership.knowledge

    def counted_owed(*args: Any) -> Any:
        found["rule"] += 1
        return owed(*args)

    def counted_live_adds(self: Membership) -> Any:
        found["registers"] += 1
        return live_adds(self)

    def counted_knowledge(self: Membership) -> Any:
        found["registers"] += 1
        return knowledge(self)

    monkeypatch.setattr(audience, "owed", counted_owed)
    monkeypatch.setattr(Membership, "live_adds", counted_live_adds)
    monkeypatch.setattr(Membership, "knowledge", counted_knowledge)
    return found


async def test_a_change_of_members_and_a_send_look_at_none_of_them(api: ApiDc, looks: Counter[str]) -> None:
    ada = api.user("Uada")
    chat = await group_of(api, FORMER)
    await ada.send(chat, "whoever is first looks at all of them, once")
    assert looks["registers"] >= 2 * FORMER
    for write in ("send", "add", "send", "kick", "send"):
        looks.clear()
        if write == "send":
            await ada.send(chat, "Hello")
        elif write == "add":
            await ada.ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ulinus"]})
        else:
            await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
        # An added member is asked about for each message that was here before; nobody else is.
        assert looks["rule"] <= MESSAGES + 10, write
        assert looks["registers"] <= MESSAGES + 60, write
    assert looks["rule"] == 0, "recipients are named: the rule has nothing to say"


async def test_what_is_known_of_former_members_is_named_by_what_is_sent_after(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await group_of(api, 5)
    await ada.send(chat, "the roll is at hand now")
    kick = int((await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace"))["id"])
    reach = await api.dc.view.roll(chat)
    assert reach.users == ("Uada",)
    assert reach.knew[api.dc.lane] == kick

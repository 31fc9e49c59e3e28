"""What a datacenter knows of one event, by way of its internal listener."""

from typing import Any

import msgspec
import pytest

from core.event import Event
from core.ids import Lane, make_id, tick_of
from core.system import wall_clock_ms
from snapshot.archive import Archive
from tests.integration.test_parked_drop import forget, parked_everywhere, say
from tests.support.replicated import ReplicatedDc, World, until

PASSWORD, TOKEN = "correct horse battery", "tok-en-of-a-phone"


async def asked(dc: ReplicatedDc, id: int) -> dict[str, Any]:
    status, body = await dc.call("GET", f"/sys/v1/events/{id}")
    assert status == 200, body
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


async def conflicts(dc: ReplicatedDc, query: str = "") -> dict[str, Any]:
    status, body = await dc.call("GET", f"/sys/v1/conflicts{query}")
    assert status == 200, body
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


async def clash(world: World, name: str = "") -> tuple[Event, Event]:
    """Ua's name, changed in fra and later in ams, neither knowing of the other; fra's loses."""
    fra, ams = world["fra"], world["ams"]
    world.cut("fra", "ams")
    lost = await fra.one.do("user.update", "Ua", name=f"left{name}")
    kept = await ams.one.do("user.update", "Ua", name=f"right{name}")
    while kept.id < lost.id:  # the wall clock has not moved
        kept = await ams.one.do("user.update", "Ua", name=f"right{name}")
    world.mend("fra", "ams")
    await world.settled()
    return lost, kept


async def test_where_an_event_stands_and_when_each_datacenter_applied_it() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        before = wall_clock_ms()
        event = await fra.one.do("user.upsert", "sys", "k1", user="Ua", name="Ada")
        await world.settled()
        for dc in (fra, ams):
            found = await asked(dc, event.id)
            assert (found["state"], found["lane"], found["seq"]) == ("applied", "fra/0.0", 2)
            assert before - 1_000 <= found["applied_after_ms"] <= found["applied_by_ms"] <= wall_clock_ms()
            assert found["event"]["action"] == "user.upsert"
            assert (found["event"]["actor"], found["event"]["key"]) == ("sys", "k1")
            assert [(one["column"], one["state"]) for one in found["fields"]] == [("name", "shown")]
        opened = (await fra.log.read(fra.lane, 0, 1))[0]
        assert (await asked(fra, opened.id))["state"] == "opened"


async def test_what_is_not_there_is_told_apart_from_what_has_not_come() -> None:
    async with World("fra", "ams") as world:
        fra = world["fra"]
        first = await fra.one.do("user.upsert", "sys", user="Ua", name="Ada")
        last = await fra.one.do("user.update", "Ua", name="Ada Lovelace")
        await world.settled()
        between = make_id(tick_of(last.id) - 1, fra.lane)
        if between > first.id:
            assert (await asked(fra, between))["state"] == "nothing"
        later = await asked(fra, make_id(tick_of(last.id) + 1, fra.lane))
        assert (later["state"], later["lane_end"]) == ("ahead", {"seq": 3, "id": str(last.id)})
        nowhere = await asked(fra, make_id(tick_of(last.id), Lane(9, 3, 1).number))
        assert (nowhere["state"], nowhere["lane"], nowhere["lane_end"]["seq"]) == ("ahead", "dc9/3.1", 0)


async def test_what_is_held_and_not_applied_yet_is_said_to_be_so_and_not_undone() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await fra.one.do("user.upsert", "sys", user="Ua", name="Ada")
        await world.settled()
        ams.disks.relational.failing = True
        event = await fra.one.do("user.update", "Ua", name="Ada Lovelace")
        await until(lambda: ams.replicator.growth.frontier().get(fra.lane) == 3)
        found = await asked(ams, event.id)
        assert (found["state"], found["event"]["action"], found["applied_by_ms"]) == ("held", "user.update", None)
        assert await ams.one.view.event(event.id) is None
        ams.disks.relational.failing = False
        await world.settled()
        assert (await asked(ams, event.id))["state"] == "applied"
        assert await ams.one.view.event(event.id) == event


async def test_what_a_write_won_and_lost_against_is_told_alike_everywhere() -> None:
    async with World("fra", "ams") as world:
        await world["fra"].one.do("user.upsert", "sys", user="Ua", name="Ada")
        await world.settled()
        lost, kept = await clash(world)
        for dc in world.dcs.values():
            [field] = (await asked(dc, lost.id))["fields"]
            assert (field["state"], field["winner"], field["winner_value"]) == ("lost", str(kept.id), "right")
            assert field["lost_against"] == [{"id": str(kept.id), "value": "right"}]
            [field] = (await asked(dc, kept.id))["fields"]
            assert (field["state"], field["won_against"]) == ("shown", [{"id": str(lost.id), "value": "left"}])
            event = (await asked(dc, kept.id))["event"]
            assert [cause["of"] for cause in event["causes"]] == ["basis.name"]


async def test_secrets_are_not_shown() -> None:
    async with World("fra") as world:
        fra = world["fra"]
        made = await fra.one.do("user.upsert", "sys", user="Ua", name="Ada", password=PASSWORD)
        device = await fra.one.do("device.register", "Ua", device="phone", provider="fcm", token=TOKEN)
        (row,) = await fra.disks.relational.rows("users", {"user": "Ua"})
        assert row["password"]
        for event, name in ((made, "password"), (device, "push")):
            status, body = await fra.call("GET", f"/sys/v1/events/{event.id}")
            assert status == 200
            for secret in (PASSWORD, TOKEN, row["password"]):
                assert secret.encode() not in body
            states = {field["column"]: field["state"] for field in msgspec.json.decode(body)["fields"]}
            assert states[name] == "secret"
        shown = (await asked(fra, made.id))["event"]["args"]["fields"]
        assert shown == {"name": "Ada", "password": "(hidden)"}
        args = (await asked(fra, device.id))["event"]["args"]
        assert (args["device"], args["token"]) == ("phone", "(hidden)")
        assert args["provider"] == "(hidden)", "hidden for where it is written to, whatever its name is"


async def test_what_became_of_a_message_and_of_what_was_done_to_it() -> None:
    async with World("fra") as world:
        fra = world["fra"]
        for user in ("Ua", "Ub"):
            await fra.one.do("user.upsert", "sys", user=user, name=user)
        sent = await fra.one.do("message.send", "Ua", "m", to="Ub", text="one")
        copy = await fra.one.do("message.send", "Ua", "m", to="Ub", text="one")
        about = {"message": str(sent.id)}
        first = await fra.one.do("message.edit", "Ua", **about, text="two")
        second = await fra.one.do("message.edit", "Ua", **about, text="three")
        liked = await fra.one.do("reaction.set", "Ub", **about, emoji="+1")

        async def outcome(event: Event) -> str:
            [message] = (await asked(fra, event.id))["messages"]
            return str(message["shown"])

        assert await outcome(sent) == f"its text was changed by {second.id}"
        assert await outcome(copy) == f"a copy of {sent.id}: one request under one key is one message"
        assert await outcome(first) == f"lost: {second.id} is a later revision"
        assert await outcome(second) == await outcome(liked) == "shown"
        [message] = (await asked(fra, sent.id))["messages"]
        assert message["copies"] == [str(copy.id)]
        assert [one["kind"] for one in message["events"]] == ["send", "send", "edit", "edit", "react"]
        recalled = await fra.one.do("message.recall", "Ua", **about, **{"for": "all"})
        assert await outcome(second) == f"lost: recalled by {recalled.id}; a recall beats everything"


async def test_a_parked_event_says_why_and_a_dropped_one_who_agreed() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        fra, ams = world["fra"], world["ams"]
        id = (await fra.log.read(lane, seq - 1, 1))[0].id
        found = await asked(ams, id)
        assert (found["state"], "applied_by_ms" in found) == ("parked", True)
        assert found["applied_by_ms"] is None
        assert found["reason"]
        assert await say(fra, place)
        await world.settled()
        assert (await asked(ams, id))["agreed_to_drop"] == ["fra"]
        assert await say(ams, place)
        await world.settled()
        for dc in (fra, ams):
            found = await asked(dc, id)
            assert (found["state"], sorted(found["agreed_to_drop"])) == ("dropped", ["ams", "fra"])


async def test_a_retried_event_was_applied_when_it_was_retried() -> None:
    async with World("fra", "ams") as world:
        lane, seq = await parked_everywhere(world)
        fra = world["fra"]
        id = (await fra.log.read(lane, seq - 1, 1))[0].id
        began = wall_clock_ms()
        forget(fra)
        await fra.one.applier.retry_parked(lane, seq)
        found = await asked(fra, id)
        assert found["state"] == "applied"
        assert began <= found["applied_by_ms"] <= wall_clock_ms()


async def test_what_is_trimmed_is_read_from_the_archive_and_without_it_said_to_be_gone() -> None:
    async with World("fra", "ams") as world:
        fra = world["fra"]
        await fra.one.do("user.upsert", "sys", user="Ua", name="Ada")
        events = [await fra.one.do("user.update", "Ua", name=f"n{n}") for n in range(40)]
        await world.settled()
        assert await fra.seal_and_trim(kept=0, refed=0) > 30
        for event in events:
            assert (await asked(fra, event.id))["state"] == "applied"
        for name in [name async for name in fra.disks.objects.list("")]:
            await fra.disks.objects.delete(name)
        fra.past._archive = Archive(fra.disks.objects)  # the old one keeps what it has read last
        assert (await asked(fra, events[3].id))["state"] == "unreadable"
        assert (await asked(world["ams"], events[3].id))["state"] == "applied", "another one has it still"


async def test_the_list_of_conflicts_is_paged_newest_first_and_filtered() -> None:
    async with World("fra", "ams") as world:
        fra = world["fra"]
        for user in ("Ua", "Ub"):
            await fra.one.do("user.upsert", "sys", user=user, name=user)
        await world.settled()
        began = wall_clock_ms()
        losers = [(await clash(world, str(n)))[0] for n in range(3)]
        whole = await conflicts(fra)
        assert [one["stamp"] for one in whole["conflicts"]] == [str(event.id) for event in reversed(losers)]
        assert whole["more"] is None
        paged: list[Any] = []
        before = ""
        while True:
            page = await conflicts(fra, f"?limit=1{before}")
            assert len(page["conflicts"]) == 1
            paged += page["conflicts"]
            assert len(paged) <= len(losers)
            if page["more"] is None:
                break
            before = f"&before={page['more']}"
        assert paged == whole["conflicts"]
        assert await conflicts(fra, "?table=users&of=Ua") == whole
        assert await conflicts(fra, f"?actor=Ua&until_ms={wall_clock_ms() + 1_000}") == whole
        nothing = (f"?since_ms={wall_clock_ms() + 60_000}", f"?until_ms={began - 60_000}", "?actor=Ub")
        for query in ("?table=chats", "?of=Ub", *nothing):
            assert await conflicts(fra, query) == {"conflicts": [], "more": None}
        assert (await conflicts(fra, f"?since_ms={began - 1_000}")) == whole
        assert await conflicts(world["ams"]) == whole, "the same in every datacenter"


async def test_what_members_contacts_and_handles_came_to_is_said_alike_everywhere() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        for user in ("Ua", "Ub", "Uc"):
            await fra.one.do("user.upsert", "sys", user=user, name=user)
        made = await fra.one.do("group.create", "Ua", "g", kind="group", title="g", users=["Ub"])
        chat = made.args.chat
        await world.settled()
        world.cut("fra", "ams")
        kick = await fra.one.do("member.kick", "Ua", chat=chat, user="Ub")
        leave = await ams.one.do("member.leave", "Ub", chat=chat)
        join = await ams.one.do("member.join", "Ub", chat=chat)
        claim = await fra.one.do("handle.claim", "Ub", handle="ada")
        late = await ams.one.do("handle.claim", "Uc", handle="ada")
        while late.id < claim.id:  # the wall clock has not moved
            claim, late = late, claim
        asks = await fra.one.do("contact.request", "Ua", user="Ub")
        asked_back = await ams.one.do("contact.request", "Ub", user="Ua")
        world.mend("fra", "ams")
        await world.settled()
        for dc in (fra, ams):

            async def says(event: Event, dc: ReplicatedDc = dc) -> str:
                [verdict] = (await asked(dc, event.id))["verdicts"]
                return str(verdict["says"])

            assert await says(kick) == f"holds: Ub is not in {chat}; it beats add {join.id}, which did not know it"
            assert (await says(join)).startswith(f"lost against kick {kick.id}: a kick beats every add")
            assert await says(leave) == f"holds: Ub is not in {chat}"
            assert (await says(late)).startswith(f"lost against claim {claim.id} of {claim.actor}")
            assert await says(claim) == f"holds: ada is {claim.actor}'s; it won against claim {late.id}"
            assert await says(asks) == f"holds, as does request {asked_back.id} of Ub: the two are contacts"


@pytest.mark.parametrize("by_way_of", ["fra", "ams"])
async def test_an_undo_is_one_write_however_often_it_is_asked_for(by_way_of: str) -> None:
    async with World("fra", "ams") as world:
        await world["fra"].one.do("user.upsert", "sys", user="Ua", name="Ada")
        await world.settled()
        lost, kept = await clash(world)
        dc = world[by_way_of]
        wanted = {"event": str(lost.id), "table": "users", "column": "name", "winner": str(kept.id)}
        query = "&".join(f"{name}={value}" for name, value in wanted.items())
        events = dc.one.applier.applied_events
        status, body = await dc.call("GET", f"/sys/v1/conflicts/undo?{query}")
        assert (status, msgspec.json.decode(body)["args"]["value"]) == (200, '"left"')
        assert dc.one.applier.applied_events == events, "asking changes nothing"
        answers = [
            await dc.call("POST", "/sys/v1/conflicts/undo", msgspec.json.encode(wanted), **{"Idempotency-Key": "u"})
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 200
        assert dc.one.applier.applied_events == events + 1
        await world.settled()
        for each in world.dcs.values():
            (row,) = await each.disks.relational.rows("users", {"user": "Ua"})
            assert row["name"] == "left"
            assert await conflicts(each) == {"conflicts": [], "more": None}
        assert len(await world.totals()) == 1
        made = await asked(world["ams"], int(msgspec.json.decode(answers[0][1])["id"]))
        assert made["event"]["args"]["of"] == str(lost.id)
        status, body = await dc.call("GET", f"/sys/v1/conflicts/undo?{query}")
        assert (status, msgspec.json.decode(body)["code"]) == (409, "conflict")

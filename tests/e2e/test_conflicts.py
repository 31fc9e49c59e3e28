"""What was written on both sides of a cut: listed, shown, undone and explained by commands, on three datacenters."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.planet import Planet
from cli.waiting import until
from core.ids import make_id, tick_of
from planb_sdk import Client
from tests.support.bad_days import QUICK, planb, sys_of, user

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
DCS = ("fra", "iad", "nrt")
SOON_S_MAX = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), DCS)
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


def config(planet: Planet, name: str = "fra") -> tuple[str, str]:
    return ("--config", str(planet.site(name).settings))


def apart(planet: Planet) -> None:
    """fra on one side, the others on the other."""
    for other in DCS[1:]:
        planet.cut("fra", other)


async def together(planet: Planet) -> None:
    for other in DCS[1:]:
        planet.heal("fra", other)
    equal = await planb("verify", *config(planet), "--wait", "30")
    assert equal.code == 0, equal


async def clash(planet: Planet, who: str) -> None:
    """The name of this user, changed in fra and then in iad while they are cut apart."""
    token = await user(planet, who)
    async with Client([planet.site("fra").url], token, options=QUICK) as left:
        await together(planet)
        async with Client([planet.site("iad").url], token, options=QUICK) as right:
            apart(planet)
            try:
                await left.update_me(name="left")
                await right.update_me(name="right")
            finally:
                await together(planet)


async def names_of(planet: Planet, who: str) -> set[str]:
    """What each datacenter says that this user is called."""
    found = set()
    for name in DCS:
        async with sys_of(planet, name) as sys:
            made = await sys.call("POST", "/sys/v1/tokens", {"user": who, "device": f"at-{name}"}, f"{who}-{name}")
        async with Client([planet.site(name).url], made["token"], options=QUICK) as client:
            found.add((await client.me()).name)
    return found


async def test_a_lost_write_is_listed_shown_and_written_again_in_every_datacenter(planet: Planet) -> None:
    await clash(planet, "Uada")
    lists = await asyncio.gather(*(planb("conflicts", "list", *config(planet, name), "--of", "Uada") for name in DCS))
    assert {found.code for found in lists} == {0}
    assert lists[0].json == lists[1].json == lists[2].json, "the same in every datacenter"
    [one] = lists[0].json["conflicts"]
    assert (one["field"], one["of"]) == ("users.name", ["Uada"])
    assert (one["lost"]["dc"], one["lost"]["value"]) == ("fra", "left")
    assert (one["kept"]["dc"], one["kept"]["value"]) == ("iad", "right")

    event = one["event"]
    shown = await planb("conflicts", "show", event, *config(planet, "nrt"), "--text")
    assert shown.code == 0
    for part in ('lost  "left", written in fra', 'kept  "right", written in iad', "by Uada (user.update)", "lww"):
        assert part in shown.out, shown.out

    for _ in range(2):
        dry = await planb("conflicts", "undo", event, *config(planet), "--dry-run", "--text")
        assert (dry.code, dry.out.startswith('would write "left" to users.name of Uada again')) == (0, True), dry
    assert await names_of(planet, "Uada") == {"right"}, "a dry run changes nothing"

    done = await planb("conflicts", "undo", event, *config(planet), "--json")
    assert (done.code, done.json["done"]) == (0, True), done
    again = await planb("conflicts", "undo", event, *config(planet), "--json")
    assert (again.code, again.json["done"], again.json["why"]) == (0, False, "it was undone before")
    assert again.json["by"] == done.json["by"]
    await together(planet)
    elsewhere = await planb("conflicts", "undo", event, *config(planet, "iad"), "--json")
    assert (elsewhere.json["done"], elsewhere.json["by"]) == (False, done.json["by"])
    assert await names_of(planet, "Uada") == {"left"}
    for name in DCS:
        left = await planb("conflicts", "list", *config(planet, name), "--of", "Uada", "--text")
        assert left.out == "no conflict: nothing that was written is lost\n"

    told = await planb("explain", done.json["by"]["id"], *config(planet, "nrt"), "--json")
    assert (told.code, told.json["event"]["action"], told.json["event"]["actor"]) == (0, "conflict.undo", "sys")
    assert {cause["of"]: cause["id"] for cause in told.json["event"]["causes"]} == {
        "of": event,
        "basis": one["kept"]["id"],
    }
    assert {name: found["state"] for name, found in told.json["datacenters"].items()} == dict.fromkeys(DCS, "applied")


async def test_what_can_not_be_undone_is_refused(planet: Planet) -> None:
    await clash(planet, "Ugrace")
    listed = await planb("conflicts", "list", *config(planet), "--of", "Ugrace", "--limit", "1")
    [one] = listed.json["conflicts"]
    kept, unknown, nonsense, field = await asyncio.gather(
        planb("conflicts", "undo", one["kept"]["id"], *config(planet), "--json"),
        planb("conflicts", "undo", "17", *config(planet), "--json"),
        planb("conflicts", "undo", "seventeen", *config(planet), "--json"),
        planb("conflicts", "undo", one["event"], *config(planet), "--field", "users.about", "--json"),
    )
    assert (kept.code, "is the present value" in kept.json["detail"]) == (5, True)
    assert (unknown.code, nonsense.code, field.code) == (4, 2, 4)
    not_lost = await planb("conflicts", "show", one["kept"]["id"], *config(planet), "--json")
    assert (not_lost.code, "is the present value" in not_lost.json["detail"]) == (4, True)


async def test_the_list_is_a_table_on_a_terminal_and_goes_on_where_it_ended(planet: Planet) -> None:
    for who in ("Ulinus", "Umargaret"):
        await clash(planet, who)
    page = await planb("conflicts", "list", *config(planet), "--limit", "1", "--text")
    head, row, more = page.out.rstrip("\n").split("\n")
    assert head.split() == ["event", "written", "(UTC)", "field", "of", "in", "lost", "in", "kept"]
    assert "Umargaret" in row and '"left"' in row
    rest = await planb("conflicts", "list", *config(planet), "--before", more.split()[-1], "--table", "users")
    assert [one["of"] for one in rest.json["conflicts"]][:1] == [["Ulinus"]]
    assert rest.json["more"] is None
    none = await planb("conflicts", "list", *config(planet), "--table", "chats", "--since", "1h")
    assert none.json == {"conflicts": [], "more": None}
    wrong = await planb("conflicts", "list", *config(planet), "--since", "yesterday")
    assert wrong.code == 2


async def test_a_message_is_explained_also_when_a_datacenter_is_down(planet: Planet) -> None:
    token = await user(planet, "Uhenriette")
    await user(planet, "Uleon")
    async with Client([planet.site("fra").url], token, options=QUICK) as client:
        sent = await client.send("Uleon", "one")
        await client.edit(sent.id, "two")
    await together(planet)
    planet.site("nrt").kill()
    try:
        found = await planb("explain", sent.id, *config(planet), "--json")
        assert (found.code, found.json["dc"], found.json["unasked"]) == (0, "fra", ["nrt"])
        assert found.json["event"]["args"]["text"] == "one"
        here = found.json["datacenters"]["fra"]
        assert here["applied_after_ms"] <= here["applied_by_ms"] >= found.json["time_ms"]
        assert "its text was changed by" in here["messages"][0]["shown"]
        text = await planb("explain", sent.id, *config(planet), "--text")
        assert text.out.startswith(f"{sent.id}: message.send by Uhenriette\n")
        for part in (
            "nrt could not be asked",
            "written ",
            " in fra, process 0, lane fra/0.0 seq ",
            "its text was changed",
        ):
            assert part in text.out, text.out
        later = make_id(tick_of(int(sent.id)) + 1, 0x7FF)  # a lane that nobody has
        unknown = await planb("explain", str(later), *config(planet), "--json")
        assert (unknown.code, unknown.json["ok"], unknown.json["event"]) == (4, False, None)
        assert unknown.json["time_ms"] >= found.json["time_ms"]
        assert any("no datacenter that answered has" in line for line in unknown.json["not_known"])
        assert any("nrt" in line for line in unknown.json["not_known"])
    finally:
        await planet.site("nrt").start()
    await until(lambda: _ready(planet), SOON_S_MAX)
    after = await planb("explain", sent.id, *config(planet, "nrt"), "--json")
    nrt = after.json["datacenters"]["nrt"]
    assert (nrt["state"], nrt["applied_after_ms"]) == ("applied", None)
    assert any("nrt: when exactly it was applied is not kept" in line for line in after.json["not_known"])


async def _ready(planet: Planet) -> bool:
    return (await planb("verify", *config(planet), "--wait", "5")).code == 0


async def test_an_id_that_is_none_is_wrong_use(planet: Planet, tmp_path: Path) -> None:
    for wrong in ("x", "0", "99999999999999999999"):
        assert (await planb("explain", wrong, *config(planet))).code == 2

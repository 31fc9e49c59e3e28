"""What an operator types, against datacenters that run."""

import asyncio
import json
import os
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from cli.conversation import home_dc, user_id
from cli.planet import Planet
from cli.waiting import until
from core.ids import Lane
from events.adapters.valkey_wire import Wire
from planb_sdk import Client
from tests.support.bad_days import finished, planb, planb_process, user

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
PEOPLE = 20
SOON_S_MAX = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra", "iad"))
    try:
        await planet.start()
        await asyncio.gather(*(user(planet, f"Uperson-{n}") for n in range(PEOPLE)))
        yield planet
    finally:
        await planet.stop()


@pytest.fixture
def config(planet: Planet) -> tuple[str, str]:
    return ("--config", str(planet.site("fra").settings))


@pytest.fixture
def rows(planet: Planet) -> Iterator[sqlite3.Connection]:
    """fra's relational store, behind its back."""
    with closing(sqlite3.connect(planet.site("fra").disks / "data" / "relational.db", timeout=10)) as connection:
        yield connection


async def test_snapshots_are_made_listed_shown_and_verified(config: tuple[str, str]) -> None:
    made = await finished(await planb_process("snapshot", "create", *config, "--json"))
    assert (made.code, made.err) == (0, "")
    assert made.out.count("\n") == 1, "one JSON object in one line, and nothing else"
    id = made.json["id"]
    listed, shown, verified, unknown = await asyncio.gather(
        planb("snapshot", "list", *config, "--json"),
        planb("snapshot", "show", *config),
        planb("snapshot", "verify", *config, "--json"),
        planb("snapshot", "show", "20200101T000000.000Z", *config, "--json"),
    )
    assert listed.json["snapshots"][-1] == made.json
    assert shown.json["id"] == id
    assert shown.json["tables"]["users"]["rows"] >= PEOPLE
    assert verified.json == {"id": id, "ok": True, "damages": []}
    assert (unknown.code, unknown.json["code"]) == (4, "not_found")


async def test_status_names_lanes_links_and_stores(planet: Planet, config: tuple[str, str]) -> None:
    found = await planb("status", *config)
    assert found.code == 0
    assert found.json["dc"] == "fra"
    assert found.json["lanes"] == ["fra/0.0"]
    assert found.json["peers"]["iad"]["link"] == "ok"
    assert found.json["stores"]["log"] == "ok"
    assert not any("lost" in name for name in found.json["counters"]), "nobody reads at 3 a.m. that data is gone"
    assert found.json["counters"]["superseded_writes"] >= 0
    site = planet.site("fra")
    folders = {name: disk["folder"] for name, disk in found.json["disks"].items()}
    assert folders == {"data_dir": str(site.disks / "data"), "objects_dir": str(site.objects)}
    assert all(0 < disk["free_bytes"] < disk["bytes"] for disk in found.json["disks"].values())
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{site.ports.sys}/metrics") as answer,
    ):
        assert 'planb_disk_free_bytes{folder="data_dir"} ' in await answer.text()


async def test_answers_as_text_begin_with_what_matters(planet: Planet, config: tuple[str, str]) -> None:
    id = (await planb("snapshot", "create", *config)).json["id"]
    for words, begin in (
        (("status",), "fra: all is well"),
        (("verify",), "equal: fra, iad are in the same state"),
        (("parked", "list"), "no event is parked"),
        (("snapshot", "list"), "  snapshot "),
        (("snapshot", "create"), "snapshot "),
        (("snapshot", "show", id), f"snapshot {id}: "),
        (("snapshot", "verify", id), f"snapshot {id} is sound"),
    ):
        found = await planb(*words, *config, "--text")
        assert (found.code, found.err) == (0, ""), words
        assert found.out.startswith(begin), (words, found.out)


async def test_json_is_one_line_of_every_command(config: tuple[str, str]) -> None:
    for words in (("status",), ("verify",), ("parked", "list"), ("snapshot", "list")):
        found = await planb(*words, *config, "--json")
        assert (found.code, found.out.count("\n")) == (0, 1), words
        assert found.json
    both = await planb("status", *config, "--json", "--text")
    assert both.code == 2


async def test_verify_finds_a_row_that_differs_and_says_where(
    planet: Planet, config: tuple[str, str], rows: sqlite3.Connection
) -> None:
    equal = await planb("verify", *config)
    assert (equal.code, equal.json["digests_equal"]) == (0, True)
    rows.execute("UPDATE users SET name = 'somebody else' WHERE user = 'Uperson-7'")
    rows.commit()
    differing = await planb("verify", *config, "--against", "iad")
    assert differing.code == 10
    assert [one["table"] for one in differing.json["differences"]] == ["users"]
    rows.execute("UPDATE users SET name = 'Uperson-7' WHERE user = 'Uperson-7'")
    rows.execute("DELETE FROM users WHERE user = 'Uperson-8'")
    rows.commit()
    lacking = await planb("verify", *config)
    assert lacking.code == 10
    (difference,) = lacking.json["differences"]
    assert difference["rows"]["fra"] == difference["rows"]["iad"] - 1


async def test_verify_refuses_names_that_are_no_peers(config: tuple[str, str]) -> None:
    found = await planb("verify", *config, "--against", "atlantis")
    assert (found.code, "[invalid]" in found.err) == (2, True)
    assert "atlantis" in found.err and "iad" in found.err
    itself = await planb("verify", *config, "--against", "fra")
    assert (itself.code, "fra" in itself.err, "iad" in itself.err) == (2, True, True)
    for wait in ("-1", "nan"):
        refused = await planb("verify", *config, "--wait", wait)
        assert (refused.code, "--wait" in refused.err) == (2, True), refused


async def test_verify_says_which_lanes_are_behind_when_a_link_is_cut(planet: Planet, config: tuple[str, str]) -> None:
    planet.cut("fra", "iad")
    try:
        await user(planet, "Uduring-the-cut")
        found = await planb("verify", *config, "--wait", "0.5")
        assert found.code in (5, 6), found
    finally:
        planet.heal("fra", "iad")


async def test_parked_events_are_listed_explained_and_tried_again(
    planet: Planet, config: tuple[str, str], rows: sqlite3.Connection
) -> None:
    site = planet.site("fra")
    lane = Lane(1, 0, 0).number
    (id,) = rows.execute("SELECT id FROM frontier WHERE lane = ?", (lane,)).fetchone()
    rows.execute("INSERT INTO parked VALUES (?, 3, ?, 'of a newer version')", (lane, id))
    rows.commit()
    await site.process.stop()
    await site.start()
    await site.ready()
    listed = await planb("parked", "list", *config)
    assert [(one["lane"], one["seq"], one["reason"]) for one in listed.json["parked"]] == [
        ("fra/0.0", 3, "of a newer version")
    ]
    absent, wrong = await asyncio.gather(
        planb("parked", "retry", "fra/0.0:4", *config), planb("parked", "retry", "four", *config)
    )
    assert (absent.code, wrong.code) == (4, 2)
    assert "four" in wrong.err
    unfinished = await planb("verify", *config)
    assert (unfinished.code, unfinished.json["ok"], unfinished.json["parked"]) == (5, False, {"fra": 1})
    tried = await planb("parked", "retry", *config, "fra/0.0:3")  # the place after --config
    assert (tried.code, tried.json) == (0, {"applied": [{"lane": "fra/0.0", "seq": 3}], "parked": []})
    assert (await planb("parked", "list", *config)).json == {"parked": []}
    assert (await planb("parked", "retry", *config)).json == {"applied": [], "parked": []}
    assert (await planb("parked", "retry", *config, "--text")).out == "no event is parked\n"
    nowhere = await planb("parked", "drop", *config, "fra/0.0:3")
    assert (nowhere.code, "not parked in any datacenter" in nowhere.err) == (4, True), nowhere


async def test_a_parked_event_is_dropped_by_all_together_or_not_at_all(planet: Planet, config: tuple[str, str]) -> None:
    lane = Lane(1, 0, 0).number

    async def park(name: str) -> None:
        """As a version would have left it that did not know the event."""
        site = planet.site(name)
        with closing(sqlite3.connect(site.disks / "data" / "relational.db", timeout=10)) as there:
            (id,) = there.execute("SELECT id FROM frontier WHERE lane = ?", (lane,)).fetchone()
            there.execute("INSERT INTO parked VALUES (?, 5, ?, 'can never be applied')", (lane, id))
            there.commit()
        await site.process.stop()
        await site.start()
        await site.ready()

    await park("fra")
    refused = await planb("parked", "drop", "fra/0.0:5", *config)
    assert (refused.code, "not parked in iad" in refused.err) == (5, True)
    listed = await planb("parked", "list", *config, "--json")
    assert [one["agreed_to_drop"] for one in listed.json["parked"]] == [[]], "nothing was done"
    await park("iad")
    dropped = await planb("parked", "drop", *config, "--json", "fra/0.0:5")
    assert dropped.code == 0, dropped
    everywhere = {"fra": True, "iad": True}
    assert (dropped.code, dropped.err) == (0, "")
    assert (dropped.json["agreed"], dropped.json["dropped"]) == (everywhere, everywhere)
    assert (await planb("verify", *config, "--json")).json["parked"] == {}
    for name in ("fra", "iad"):
        there = ("--config", str(planet.site(name).settings), "--json")
        assert (await planb("parked", "list", *there)).json == {"parked": []}


async def test_a_doctor_beside_a_datacenter_that_runs(planet: Planet, config: tuple[str, str]) -> None:
    found = await planb("doctor", *config, "--json")
    assert (found.code, found.err, found.json["problems"]) == (0, "", 0), found
    facts = {(one["check"], one["state"]): one["fact"] for one in found.json["checks"]}
    assert f":{planet.site('fra').ports.sys}: fra runs, incarnation 0, epoch " in json.dumps(found.json)
    assert "is iad, its clock" in facts["peer iad", "ok"]
    assert (await planb("status", *config, "--check")).code == 0, "nothing was harmed"
    planet.cut("fra", "iad")
    try:
        cut = await planb("doctor", *config, "--text")
        assert cut.code == 6 and re.search("^  ✗ peer iad ", cut.out, re.MULTILINE)
    finally:
        planet.heal("fra", "iad")


async def test_servers_that_want_a_password_are_given_the_one_in_the_file(
    planet: Planet, config: tuple[str, str], tmp_path: Path
) -> None:
    site = planet.site("fra")
    before = site.settings.read_text()
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text("p:w@1/2\n")
    await site.process.stop()
    for port in (site.ports.log, site.ports.hot):
        await said(f"redis://127.0.0.1:{port}/0", "CONFIG", "SET", "requirepass", "p:w@1/2")
    try:
        shut = await planb("doctor", *config, "--json")
        assert shut.code == 8
        assert {one["check"] for one in shut.json["checks"] if "let us in" in one["fact"]} == {"log", "hot"}
        files = f'[secrets]\nlog_password_file = "{file}"\nhot_password_file = "{file}"\n'
        site.settings.write_text(before.replace("[secrets]\n", files))
        await site.start()
        await site.ready()
        assert (await planb("doctor", *config, "--json")).code == 0
        assert (await planb("rebuild", "hot", *config)).code == 0
        shown = await planb("config", "show", *config)
        assert "p:w@1/2" not in shown.out and str(file) in shown.out
    finally:
        await site.process.stop()
        for port in (site.ports.log, site.ports.hot):
            await said(f"redis://:p%3Aw%401%2F2@127.0.0.1:{port}/0", "CONFIG", "SET", "requirepass", "")
        site.settings.write_text(before)
        await site.start()
        await site.ready()


async def said(url: str, *words: str) -> Any:
    """What a Valkey answers."""
    wire = Wire(url, connections_max=1, connect_s=1.0, answer_s=1.0)
    try:
        (answer,) = await wire.ask(words)
    finally:
        await wire.close()
    return answer


async def test_hot_state_that_was_spoilt_is_rebuilt_by_a_command(planet: Planet, config: tuple[str, str]) -> None:
    token = await user(planet, "Udora")
    ports = planet.site("fra").ports

    async def notes() -> list[str]:
        """As she sees them in her dialogs."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.get(f"http://127.0.0.1:{ports.public}/v1/dialogs") as answer,
        ):
            return [one["conversation"] for one in (await answer.json())["dialogs"]]

    async with Client([f"http://127.0.0.1:{ports.public}"], token) as dora:
        await dora.send("Udora", "a note")
    before = await notes()
    assert len(before) == 1
    hot = f"redis://127.0.0.1:{ports.hot}/0"
    keys = await said(hot, "KEYS", "*Udora*")
    assert keys
    await said(hot, "DEL", *keys)
    assert await notes() == [], "nothing notices it by itself"
    found = await planb("rebuild", "hot", *config, "--json")
    assert (found.code, found.err) == (0, "")
    assert found.json["epoch"] == found.json["epoch_before"] + 1
    assert await notes() == before
    as_text = await planb("rebuild", "hot", *config, "--text")
    number = found.json["epoch"]
    assert re.fullmatch(
        rf"hot state of fra is rebuilt, in [\d.]+ s: epoch {number + 1} follows {number}\n", as_text.out
    )
    assert (await planb("status", *config)).json["epoch"] == number + 1


async def test_a_restore_refuses_a_datacenter_that_runs(planet: Planet, config: tuple[str, str]) -> None:
    refused = await planb("restore", *config, "--json")
    assert (refused.code, refused.json["code"]) == (5, "conflict")
    assert "running" in refused.err
    assert planet.site("fra").process.running


async def test_commands_for_a_datacenter_that_is_not_there_say_so(planet: Planet, tmp_path: Path) -> None:
    text = planet.site("fra").settings.read_text().replace(f"port = {planet.site('fra').ports.sys}", "port = 1")
    nowhere = tmp_path / "nowhere.toml"
    nowhere.write_text(text)
    config = ("--config", str(nowhere))
    for ran in await asyncio.gather(
        planb("status", *config),
        planb("parked", "list", *config),
        planb("verify", *config, "--wait", "1"),
        planb("rebuild", "hot", *config),
    ):
        assert ran.code == 6
        assert "127.0.0.1:1 does not answer" in ran.err
        assert "Traceback" not in ran.err


async def test_settings_that_are_wrong_are_refused_with_every_problem_named(planet: Planet, tmp_path: Path) -> None:
    good = planet.site("fra").settings.read_text()
    texts = {
        "fields": (good.replace("number = 1", "number = 99", 1) + "[misspelt]\nx = 1\n", ("dc.number", "misspelt")),
        "syntax": (good + "[", ("syntax.toml",)),
        "peer": (good.replace("number = 2", "number = 1"), ("number of its own",)),
        "peer-key": (good.replace('public_key = "', 'public_key = "!'), ("peers.iad.public_key",)),
        "peer-url": (good.replace('sys_url = "http', 'sys_url = "gopher'), ("peers.iad.sys_url",)),
        "address": (good.replace("redis://", "redus://"), ("stores.log_url", "stores.hot_url")),
        "folder": (good.replace("/disks/data", "/settings.toml/data"), ("stores.data_dir",)),
    }
    for name, (text, words) in texts.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        found = await planb("snapshot", "create", "--config", str(path))
        assert found.code == 8, (name, found)
        assert "Traceback" not in found.err, (name, found.err)
        assert all(word in found.err for word in words), (name, found.err)
    absent = await planb("status", "--config", str(tmp_path / "absent.toml"))
    assert absent.code == 8
    assert "no such file" in absent.err


async def test_a_process_that_can_not_serve_says_why(planet: Planet, tmp_path: Path) -> None:
    good = planet.site("fra").settings.read_text()
    keyless = tmp_path / "keyless.toml"
    keyless.write_text(good.replace("token.key", "absent.key"))
    apart = tmp_path / "apart.toml"  # with fra's own lease it would stand by
    assert "[coordination]\n" in good
    apart.write_text(good.replace("[coordination]\n", f'[coordination]\ndir = "{tmp_path / "coordination"}"\n'))
    without_key, taken = await asyncio.gather(
        planb_process("serve", "all", "--config", str(keyless)),
        planb_process("serve", "all", "--config", str(apart)),
    )
    for process, words in ((without_key, "absent.key: No such file"), (taken, "can't listen on 127.0.0.1:")):
        found = await finished(process)
        assert found.code == 8, found
        assert words in found.err
        assert "Traceback" not in found.err


def changed(planet: Planet, path: Path, old: str, new: str) -> tuple[str, str]:
    """fra's settings, but for one thing, in another file."""
    text = planet.site("fra").settings.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return ("--config", str(path))


async def test_what_is_wrong_stands_first(planet: Planet, config: tuple[str, str]) -> None:
    planet.cut("fra", "iad")
    try:

        async def is_said() -> bool:
            found = await planb("status", *config, "--text")
            first, second, *_ = found.out.splitlines()
            return first == "fra: 1 problem" and second.startswith("  ✗ link to iad has failed")

        assert await until(is_said, 30.0)
        (problem,) = (await planb("status", *config)).json["problems"]
        assert "iad" in problem
        checked = await planb("status", *config, "--check", "--json")
        assert (checked.code, checked.json["ok"], checked.json["problems"] != []) == (1, False, True)
    finally:
        planet.heal("fra", "iad")


async def test_a_wrong_key_is_said_to_be_one(planet: Planet, tmp_path: Path) -> None:
    key = tmp_path / "wrong.key"
    key.write_bytes(bytes(32))
    wrong = changed(planet, tmp_path / "wrong.toml", str(planet.home / "keys" / "sys.key"), str(key))
    for words in (("status",), ("verify",), ("parked", "list")):
        found = await planb(*words, *wrong)
        assert found.code == 3
        said = re.search(r"(\w+) at http://127\.0\.0\.1:\d+ says so: it runs with another key\.", found.err)
        assert said and said[1] in (("fra", "iad") if words == ("verify",) else ("fra",)), found.err
        assert f"Compare secrets.sys_key_file here ({key}) with the one in the settings of {said[1]}" in found.err


async def test_a_port_that_is_no_datacenters_is_said_to_be_one(planet: Planet, tmp_path: Path) -> None:
    ports = planet.site("fra").ports
    found = await planb("status", *changed(planet, tmp_path / "a.toml", f"= {ports.sys}\n", f"= {ports.log}\n"))
    assert found.code == 6
    assert "Is it a datacenter's port" in found.err and "Traceback" not in found.err


async def test_verify_names_the_datacenter_that_does_not_answer(planet: Planet, config: tuple[str, str]) -> None:
    await planet.site("iad").process.stop()
    try:
        found = await planb("verify", *config, "--wait", "1")
        assert found.code == 6
        assert "planb verify: iad: http://" in found.err
    finally:
        await planet.site("iad").start()
        await planet.site("iad").ready()


async def test_a_log_tells_what_went_well_from_what_did_not(planet: Planet) -> None:
    site = planet.site("fra")
    await site.process.stop()
    await site.start()
    await site.ready()
    log = (site.home / "serve.log").read_text()
    assert "INFO cli.serve: fra serves on port" in log
    assert "WARNING cli.serve" not in log


async def test_wrong_use_is_refused_with_exit_code_2(config: tuple[str, str]) -> None:
    for words in (("snapshot",), ("restore",), ("dc", "explode"), ("nonsense",)):
        assert (await planb(*words)).code == 2


async def test_logs_are_imported_whatever_bytes_they_hold(planet: Planet, tmp_path: Path) -> None:
    irssi = tmp_path / "odd.log"
    irssi.write_bytes(
        b"12:00 -!- ann [a@b] has joined #odd\n"
        b"12:01 <ann> na\xefve caf\xe9 \x80 5\n"  # cp1252
        b"\n12:01 <ann>\n12:02 <[bob]> {x} \xe2\x82\xac \x00 nul\n"
        b"12:02 <[bob]> two  spaces, \ttab, \xf0\x9f\x98\x80 ends \n" + b"12:03 <ann> " + b"x" * 20_000 + b"\n"
    )
    again = tmp_path / "again" / "odd.log"
    again.parent.mkdir()
    again.write_bytes("[12:34] <Zoë> 'quotes' \"too\" & <tags>\r\n".encode())
    settings = [str(planet.site(name).settings) for name in planet.sites]
    configs = [word for path in settings for word in ("--config", path)]
    done = await planb("import", str(irssi), str(again), *configs)
    assert done.code == 0, done.err
    assert done.json["messages"] == 3
    odd, other = done.json["files"]
    assert (odd["file"], other["file"]) == (str(irssi), str(again))
    assert odd["chat"] != other["chat"], "two logs of one name are two chats"
    assert [(one["line"], one["nick"], one["bytes"], one["reason"]) for one in odd["refused"]] == [
        (5, "[bob]", 13, "nul"),
        (7, "ann", 20_000, "too_long"),
    ]
    assert odd["skipped"] == {"unknown_form": 0, "about_the_log": 0, "without_text": 1}
    for one in odd, other:
        parts = one["messages"] + one["membership"] + sum(one["skipped"].values()) + len(one["refused"])
        assert one["lines"] == parts, "every line is accounted for"
    shown = await planb("import", str(irssi), *configs, "--text")
    assert shown.out.startswith("2 messages told in ")
    assert "  ✗ line 7: 20,000 bytes of ann, over 16,384 bytes\n" in shown.out
    absent = await planb("import", str(tmp_path / "absent.log"), *configs)
    none = tmp_path / "README.md"
    none.write_text("# A page\n\nof prose.\n")
    for logs in ((none,), (irssi, none)):
        refused = await planb("import", *map(str, logs), *configs)
        assert (refused.code, refused.out) == (2, ""), refused
        assert f"{none}: no line is of a known form" in refused.err
    assert absent.code == 2 and "absent.log" in absent.err
    assert "Traceback" not in absent.err


async def test_an_imported_chat_has_the_order_of_its_log(planet: Planet, tmp_path: Path) -> None:
    """Also between nicks that live in different datacenters, which do not hear of each other meanwhile."""
    rng, nicks = Random(7), [f"nick{n}" for n in range(6)]
    said = [(rng.choice(nicks), f"line {n}") for n in range(120)]
    log = tmp_path / "turns.log"
    log.write_text("".join(f"[12:00] <{nick}> {text}\n" for nick, text in said))
    assert len({home_dc(nick, tuple(planet.sites)) for nick in nicks}) == 2
    configs = [word for site in planet.sites.values() for word in ("--config", str(site.settings))]
    done = await planb("import", str(log), *configs, "--json")
    assert done.code == 0, done.err
    (chat,) = (one["chat"] for one in done.json["files"])
    async with Client([planet.site("fra").url], await user(planet, user_id(nicks[0]))) as client:
        shown = [(one.sender, one.text) async for one in client.history(chat) if not one.system][::-1]
    assert shown == [(user_id(nick), text) for nick, text in said]


async def test_a_dead_archive_is_a_problem_of_status_and_a_metric(planet: Planet, config: tuple[str, str]) -> None:
    """Nothing else tells: clients notice nothing, and a datacenter that burns now loses what only it had."""
    site = planet.site("fra")

    async def failing() -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{site.ports.sys}/metrics") as answer,
        ):
            return "1" if "\nplanb_archive_failing 1" in await answer.text() else ""

    gone = site.objects.with_name("objects.gone")
    site.objects.rename(gone)
    try:
        await user(planet, "Uwritten-meanwhile")
        assert await until(failing, SOON_S_MAX)
        found = (await planb("status", *config, "--json")).json
        assert found["stores"]["archive"].startswith("nothing is archived: ")
        assert str(site.objects) in found["stores"]["archive"]
        assert any(problem.startswith("archive: nothing is archived: ") for problem in found["problems"])
        assert "all is well" not in (await planb("status", *config, "--text")).out
    finally:
        gone.rename(site.objects)

    async def well() -> bool:
        return not await failing()

    assert await until(well, SOON_S_MAX)
    assert (await planb("status", *config, "--json")).json["stores"]["archive"] == "ok"


async def test_status_of_a_frozen_datacenter_is_not_waited_for_long(planet: Planet, config: tuple[str, str]) -> None:
    pid = planet.site("fra").process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        found = await finished(await planb_process("status", *config), 25.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (found.code, "does not answer" in found.err) == (6, True), found


async def test_what_is_no_snapshot_id_is_said_to_be_none(config: tuple[str, str]) -> None:
    for verb in ("verify", "show"):
        found = await planb("snapshot", verb, "../../etc", *config)
        assert (found.code, "'../../etc' is not a snapshot id" in found.err) == (2, True), found

"""Object storage whose disk lied, and restores that are refused, interrupted and run again."""

import asyncio
import contextlib
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from cli import servers
from cli.planet import Planet, Site
from cli.waiting import until
from snapshot.archive import Archive
from stores.adapters.directory_objects import DirectoryObjects
from tests.support.bad_days import RECOVER_S_MAX, Load, Ran, digests, finished, planb, planb_process, status, user

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
PEOPLE = 40


class World(NamedTuple):
    planet: Planet
    older: str
    newer: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two datacenters, two snapshots of iad, and events after both."""
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra", "iad"))
    try:
        await planet.start()
        site = planet.site("iad")
        taken = []
        for part in ("before", "between", "after"):
            tokens = await asyncio.gather(*(user(planet, f"U{part}-{n}", "iad") for n in range(PEOPLE)))
            async with Load(site.url, tokens[0], f"U{part}-1").running() as load:
                await load.more(50)
            if part != "after":
                taken.append((await planb("snapshot", "create", "--config", str(site.settings))).json["id"])

        async def archived() -> bool:
            spans = await Archive(DirectoryObjects(site.objects)).lanes()
            return sum(end for _, end in spans.values()) == sum((await status(planet, "iad"))["durable"].values())

        # A restore is to have something to replay: what came after the newer snapshot.
        assert await until(archived, RECOVER_S_MAX)
        yield World(planet, *taken)
    finally:
        await planet.stop()


class Spare(NamedTuple):
    """iad on other disks: a copy of its objects, and nothing else yet."""

    config: str
    objects: Path
    data: Path

    async def verify(self, id: str) -> tuple[int, str]:
        found = await planb("snapshot", "verify", id, "--config", self.config, "--json")
        return found.code, found.out

    def written(self) -> bool:
        """Whether there is anything in its stores."""
        return self.data.exists() and any(rows(path) for path in self.data.glob("*.db"))


def rows(path: Path) -> int:
    """Of all tables of an SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(connection.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in tables)


@pytest_asyncio.fixture(loop_scope="module")
async def spare(world: World, tmp_path: Path) -> AsyncIterator[Spare]:
    site = world.planet.site("iad")
    public, internal, log_port = servers.free_ports(3)
    settings = tmp_path / "spare.toml"
    found = Spare(str(settings), tmp_path / "objects", tmp_path / "data")
    shutil.copytree(site.objects, found.objects)
    text = site.settings.read_text()
    for old, new in (
        (json.dumps(str(site.objects)), json.dumps(str(found.objects))),
        (json.dumps(str(site.disks / "data")), json.dumps(str(found.data))),
        (f"127.0.0.1:{site.ports.log}/", f"127.0.0.1:{log_port}/"),
        (f"port = {site.ports.public}", f"port = {public}"),
        (f"port = {site.ports.sys}", f"port = {internal}"),
    ):
        assert old in text
        text = text.replace(old, new)
    settings.write_text(text)
    log = servers.valkey("spare log", log_port, tmp_path / "log", tmp_path / "log.log", synced=True)
    log.start()
    try:
        await servers.listening(log, log_port)
        yield found
    finally:
        log.kill()


def flip(path: Path) -> None:
    """One bit, in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def move_log(settings: Path, port: int) -> None:
    settings.write_text(re.sub(r'(log_url = "redis://127.0.0.1:)\d+', rf"\g<1>{port}", settings.read_text()))


def move_data(settings: Path, folder: str) -> None:
    settings.write_text(re.sub(r"data_dir = .*", f"data_dir = {json.dumps(folder)}", settings.read_text()))


def manifest(spare: Spare, id: str) -> Path:
    return spare.objects / "snapshots" / id / "manifest.json"


def chunks(spare: Spare, id: str) -> set[str]:
    tables = json.loads(manifest(spare, id).read_text())["tables"].values()
    return {chunk["hash"] for table in tables for chunk in table["chunks"]}


async def refused(spare: Spare, id: str, name: str) -> None:
    """The damaged object is named by everyone who needs it, and nothing is written."""
    verified = await planb("snapshot", "verify", id, "--config", spare.config)
    assert verified.code == 7
    assert name in verified.out + verified.err
    for words in (("--dry-run",), ()):
        tried = await planb("restore", "--snapshot", id, *words, "--config", spare.config, "--json")
        assert tried.code == 7, tried
        assert tried.json["code"] == "corrupt"
        assert name in tried.err
        assert "Traceback" not in tried.err
    assert not spare.written()


async def older_is_taken(world: World, spare: Spare, name: str) -> None:
    done = await planb("restore", "--config", spare.config, "--json")
    assert done.code == 0, done
    assert done.json["snapshot"] == world.older
    (skipped,) = done.json["skipped_snapshots"]
    assert skipped["id"] == world.newer
    assert name in skipped["reason"]


async def test_a_dry_run_says_what_would_be_done_and_changes_nothing(world: World, spare: Spare) -> None:
    before = sorted(spare.objects.rglob("*"))
    found = await planb("restore", "--dry-run", "--config", spare.config, "--json")
    assert (found.code, found.json["done"], found.json["snapshot"]) == (0, False, world.newer)
    assert found.out.count("\n") == 1
    assert found.json["incarnation"] == 1
    assert found.json["log_records"] >= found.json["events_to_replay"] > 0
    assert not spare.data.exists()
    assert sorted(spare.objects.rglob("*")) == before


async def test_a_damaged_chunk_is_named_and_an_older_snapshot_taken(world: World, spare: Spare) -> None:
    chunk = min(chunks(spare, world.newer) - chunks(spare, world.older))
    flip(spare.objects / "chunks" / chunk)
    await refused(spare, world.newer, chunk)
    await older_is_taken(world, spare, chunk)


async def test_all_snapshots_are_verified_at_once_and_the_exit_code_is_the_worst(world: World, spare: Spare) -> None:
    verify = ("snapshot", "verify", "--all", "--config", spare.config)
    sound = await planb(*verify, "--json")
    assert (sound.code, sound.err) == (0, ""), sound
    both = [world.older, world.newer]
    assert sound.json == {"ok": True, "snapshots": [{"id": id, "ok": True} for id in both], "damages": []}
    assert (await planb(*verify, "--text")).out == "2 snapshots are sound: every chunk, and the archive behind them\n"
    chunk = min(chunks(spare, world.older) - chunks(spare, world.newer))
    flip(spare.objects / "chunks" / chunk)
    manifest(spare, world.newer).unlink()
    manifest(spare, world.newer).write_text("{")
    found = await planb(*verify, "--json")
    assert found.code == 7, found
    assert [(one["id"], one["ok"]) for one in found.json["snapshots"]] == [(id, False) for id in both]
    assert {one["object"]: one["snapshots"] for one in found.json["damages"]} == {
        f"chunks/{chunk}": [world.older],
        f"snapshots/{world.newer}/manifest.json": [world.newer],
    }
    shown = (await planb(*verify, "--text")).out
    assert shown.startswith("2 of 2 snapshots are DAMAGED:\n")
    assert f"  ✗ chunks/{chunk}: " in shown and world.newer in shown
    one = await planb("snapshot", "verify", world.older, "--all", "--config", spare.config)
    assert (one.code, "either an id or --all" in one.err) == (2, True), one
    for id in both:
        shutil.rmtree(manifest(spare, id).parent)
    none = await planb(*verify, "--json")
    assert (none.code, none.json["code"]) == (4, "not_found"), "nothing was verified: that is no success"


async def test_a_missing_chunk_is_named(world: World, spare: Spare) -> None:
    chunk = min(chunks(spare, world.newer) - chunks(spare, world.older))
    (spare.objects / "chunks" / chunk).unlink()
    await refused(spare, world.newer, chunk)


async def test_a_damaged_manifest_is_named_and_an_older_snapshot_taken(world: World, spare: Spare) -> None:
    flip(manifest(spare, world.newer))
    await refused(spare, world.newer, world.newer)
    listed = (await planb("snapshot", "list", "--config", spare.config)).json["snapshots"]
    assert [one["id"] for one in listed] == [world.older, world.newer]
    assert "damaged" in listed[1]
    await older_is_taken(world, spare, world.newer)


async def test_a_damaged_segment_that_every_snapshot_needs_is_named_and_nothing_is_taken(
    world: World, spare: Spare
) -> None:
    segment = max((spare.objects / "archive").rglob("*.seg"), key=lambda path: (path.parent.name, path.name))
    flip(segment)
    name = str(segment.relative_to(spare.objects))
    await refused(spare, world.newer, name)
    for words in ((), ("--dry-run",)):
        found = await planb("restore", "--config", spare.config, "--json", *words)
        assert (found.code, found.json["code"]) == (7, "corrupt")
        assert found.err.count(name) == 1, "it is the segment's fault, not that of each snapshot"
        assert "none of 2 snapshots can be restored: 1 object is damaged or missing" in found.err
        (one,) = found.json["damages"]
        assert (one["object"], one["snapshots"]) == (name, [world.older, world.newer])
        assert one["lane"] in ("fra/0.0", "iad/0.0")
        assert one["next"].startswith("move this one away, then copy this lane's segments of seqs ")
    verified = await planb("snapshot", "verify", "--config", spare.config, "--json")
    assert verified.json["damages"] == [one], "verify knows what it costs, too"
    assert not spare.written()


async def test_a_lost_archive_is_told_in_a_few_lines(world: World, spare: Spare) -> None:
    shutil.rmtree(spare.objects / "archive")
    found = await planb("restore", "--dry-run", "--config", spare.config, "--json")
    first, *lines = found.err.splitlines()
    assert (found.code, first) == (
        7,
        "planb restore: none of 2 snapshots can be restored: 2 objects are damaged or missing [corrupt]",
    )
    assert lines[0] == "  ✗ archive/2048/ (lane fra/0.0): no segment is there"
    assert lines[1] == f"    without it 2 snapshots ({world.older} … {world.newer}) can't be restored"
    assert lines[2] == "    next: copy what is missing here from this folder of another datacenter's objects"
    assert lines[3] == "  ✗ archive/4096/ (lane iad/0.0): no segment is there"
    assert len(lines) == 6
    assert [one["lane"] for one in found.json["damages"]] == ["fra/0.0", "iad/0.0"]
    text = await planb("snapshot", "verify", "--config", spare.config, "--text")
    assert text.out.splitlines()[1:-1] == lines, "the same of the newest snapshot"


async def test_a_restore_wants_empty_stores_and_a_dry_run_says_so_too(spare: Spare) -> None:
    assert (await planb("restore", "--config", spare.config)).code == 0
    for words in ((), ("--dry-run",)):
        again = await planb("restore", "--config", spare.config, "--json", *words)
        assert (again.code, again.json["code"]) == (5, "conflict")
        assert "empty" in again.err


async def test_a_dry_run_says_that_the_log_is_down(spare: Spare) -> None:
    (port,) = servers.free_ports(1)
    move_log(Path(spare.config), port)
    for words in (("--dry-run",), ()):
        found = await planb("restore", "--config", spare.config, "--json", *words)
        assert (found.code, found.json["code"]) == (6, "log_unavailable")
        assert f":{port}" in found.err
    assert not spare.data.exists()


async def test_a_folder_of_objects_that_is_not_there_is_named_and_not_made(world: World, spare: Spare) -> None:
    shutil.rmtree(spare.objects)
    for words in (
        ("restore",), ("restore", "--dry-run"), ("snapshot", "list"), ("snapshot", "show"), ("snapshot", "create"),
        ("snapshot", "verify", world.newer),
    ):  # fmt: skip
        found = await planb(*words, "--config", spare.config)
        assert found.code == 8, (words, found)
        assert str(spare.objects) in found.err
        assert "Traceback" not in found.err
    assert not spare.objects.exists()


async def test_without_objects_there_is_nothing_to_restore(world: World, spare: Spare) -> None:
    shutil.rmtree(spare.objects)
    spare.objects.mkdir()
    for words in (("restore",), ("snapshot", "show"), ("snapshot", "verify", world.newer)):
        found = await planb(*words, "--config", spare.config)
        assert found.code == 4, (words, found)
        assert (
            f"no snapshot in {spare.objects}. The folder is empty; a bucket has snapshots/ and archive/." in found.err
        )
        assert f"Is stores.objects_dir in {spare.config} right, and its disk mounted?" in found.err
    listed = await planb("snapshot", "list", "--config", spare.config)
    assert listed.json == {"snapshots": [], "objects": str(spare.objects)}
    text = await planb("snapshot", "list", "--config", spare.config, "--text")
    assert text.out == f"  none\nin {spare.objects}\n"
    assert list(spare.objects.iterdir()) == []


async def test_a_folder_that_is_no_bucket_is_said_to_be_none(world: World, spare: Spare) -> None:
    """The setting names a folder above the bucket, or another one."""
    bucket = spare.objects.with_name("bucket")
    spare.objects.rename(bucket)
    spare.objects.mkdir()
    for n in range(7):
        (spare.objects / f"photo-{n}.jpg").touch()
    found = await planb("restore", "--config", spare.config)
    assert (found.code, "The folder holds photo-0.jpg, photo-1.jpg," in found.err) == (4, True), found
    assert "photo-4.jpg, …; a bucket has" in found.err
    bucket.rename(spare.objects / "iad")
    found = await planb("restore", "--dry-run", "--config", spare.config)
    assert found.code == 4
    assert f"There are some in {spare.objects / 'iad'}: is stores.objects_dir in {spare.config} right?" in found.err


async def test_a_snapshot_that_is_not_there_is_answered_with_those_that_are(world: World, spare: Spare) -> None:
    id = "20200101T000000.000Z-iad"
    for words in (("restore", "--snapshot", id), ("snapshot", "show", id), ("snapshot", "verify", id)):
        found = await planb(*words, "--config", spare.config)
        assert found.code == 4
        there = f"no snapshot {id} in {spare.objects}: there are 2, the newest is {world.newer}"
        assert f"{there}. List them: planb snapshot list --config {spare.config}" in found.err


async def test_a_data_folder_that_can_not_be_made_is_named_with_the_reason(spare: Spare, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    folders = {str(tmp_path / "a-file" / "data"): "a-file is a file", "/proc/planb": "/proc is on no disk"}
    for folder, reason in folders.items():
        move_data(Path(spare.config), folder)
        for words in (("restore", "--dry-run"), ("restore",), ("snapshot", "create"), ("serve", "all")):
            found = await finished(await planb_process(*words, "--config", spare.config))
            assert found.code == 8, (words, found)
            assert f"stores.data_dir: {folder} is not usable: " in found.err
            assert reason in found.err
            assert "bytes left" not in found.err


async def test_a_process_that_ran_does_not_make_its_objects_anew(world: World, tmp_path: Path) -> None:
    site = world.planet.site("iad")
    text = site.settings.read_text()
    absent = tmp_path / "unmounted"
    await site.process.stop()
    try:
        site.settings.write_text(text.replace(str(site.objects), str(absent)))
        found = await finished(await planb_process("serve", "all", "--config", str(site.settings)))
        assert found.code == 8
        assert str(absent) in found.err and "Traceback" not in found.err
        assert not absent.exists()
    finally:
        site.settings.write_text(text)
        await site.start()
        await site.ready()


async def test_one_that_burnt_does_not_make_its_objects_anew_where_others_know_it(world: World, spare: Spare) -> None:
    """Its disks can't tell that it ever ran: a wrong `objects_dir` would be a new, empty bucket."""
    shutil.rmtree(spare.objects)
    found = await finished(await planb_process("serve", "all", "--config", spare.config), 20.0)
    assert found.code == 8, found
    assert str(spare.objects) in found.err and "fra knows" in found.err
    assert "Traceback" not in found.err
    assert not spare.objects.exists()
    assert not spare.data.exists()


async def restoring(site: Site) -> bool:
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(site.disks / "data" / "relational.db")) as found:
        return bool(found.execute("SELECT 1 FROM meta WHERE name = 'restoring' AND value <> ''").fetchone())
    return False


async def ended_in_the_middle(site: Site, number: signal.Signals) -> Ran:
    """A restore of emptied disks that a signal ended while it wrote."""
    for _ in range(5):
        site.kill()
        site.burn()
        await site.start_servers()
        process = await planb_process("restore", "--config", str(site.settings))
        assert await until(lambda: restoring(site), RECOVER_S_MAX)
        process.send_signal(number)
        ran = await finished(process)
        if await restoring(site):
            return ran
    raise AssertionError("it was never ended in the midst of it")


async def test_a_restore_that_was_ended_in_the_middle_is_completed_by_running_it_again(world: World) -> None:
    planet, site = world.planet, world.planet.site("iad")
    config = ("--config", str(site.settings))
    by_hand = await ended_in_the_middle(site, signal.SIGINT)
    assert (by_hand.code, "not finished. Run it again: it completes the same one" in by_hand.err) == (130, True)
    assert "Traceback" not in by_hand.err
    await ended_in_the_middle(site, signal.SIGKILL)
    served = await finished(await planb_process("serve", "all", *config))
    assert served.code == 5
    assert world.newer in served.err
    other = await planb("restore", "--snapshot", world.older, *config)
    assert (other.code, "complete that one (planb restore without --snapshot)" in other.err) == (5, True)
    completed = await planb("restore", *config, "--json")
    assert (completed.code, completed.json["snapshot"]) == (0, world.newer)
    assert completed.json["unasked"] == []
    await site.start()
    await site.ready()
    assert len(await digests(planet)) == 1

"""`planb doctor` on the embedded default: real Valkeys, files, folders, peers; what is well, and each thing that is
not."""

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli import doctor, event_log, hot_state, text
from cli.checks import others
from cli.checks.notes import Notes
from cli.main import main, parser
from cli.settings import Settings
from core.errors import ConfigError, Unavailable
from core.system import steady_clock_ms, wall_clock_ms
from snapshot.manifest import key_of
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.sqlite_file import MAGIC, VERSION_AT, header_of
from tests.support.examined import all_ok, found, settings_of, silent, worst
from tests.support.replicated import KEY, World
from tests.support.valkey import ValkeyFactory, ValkeyServer, free_port
from tests.support.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.integration
SOON_S_MAX = 1.0


@pytest.fixture
def log(valkey_server: ValkeyFactory) -> ValkeyServer:
    return valkey_server("always")


@pytest.fixture
def hot(valkey_server: ValkeyFactory) -> ValkeyServer:
    return valkey_server()


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "server" not in path.name}


# -- the whole


def test_before_the_first_start_all_is_well_and_nothing_is_left_behind(
    tmp_path: Path, log: ValkeyServer, hot: ValkeyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings_of(
        home, stores__log_url=log.url, stores__hot_url=hot.url, public__port=free_port(), sys__port=free_port()
    )  # fmt: skip
    before = tree(home)
    assert main(["doctor", "--config", str(home / "fra.toml"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] and answer["problems"] == 0
    assert {one["check"] for one in answer["checks"]} >= {"files", "disks", "log", "hot", "objects", "this process"}
    assert tree(home) == before
    for server in (log, hot):
        assert server.ask("DBSIZE") == b":0"
        assert server.ask("FUNCTION LIST") == b"*0"


def test_the_worst_ends_it_and_others_are_still_looked_at(
    tmp_path: Path, log: ValkeyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    settings_of(tmp_path, stores__log_url=log.url, stores__hot_url=nowhere)
    config = ["doctor", "--config", str(tmp_path / "fra.toml"), "--text"]
    assert main(config) == Unavailable.exit_code
    said = capsys.readouterr()
    assert said.err == ""
    assert "  ✗ hot " in said.out and "Connection refused" in said.out
    assert f"→ start it: valkey-server --port {nowhere.split(':')[2][:-2]}" in said.out
    assert "  ✓ log " in said.out
    settings_of(tmp_path, stores__log_url=nowhere, stores__hot_url=log.url)
    assert main(config) == Unavailable.exit_code
    said = capsys.readouterr()
    # An empty log in the folder where the command is pasted would be a log that has lost its lanes.
    assert "→ start it in the folder that it had: valkey-server" in said.out and " --dir FOLDER " in said.out
    settings_of(tmp_path, stores__log_url=log.url, stores__hot_url=nowhere)
    log.ask("CONFIG SET appendfsync everysec")
    assert main(config) == ConfigError.exit_code
    assert main(["doctor", "--config", str(tmp_path / "none.toml")]) == ConfigError.exit_code


async def test_a_check_that_hangs_is_named_and_holds_nobody_up(tmp_path: Path) -> None:
    async def hangs(settings: Settings, notes: Notes) -> None:
        notes.ok("it has begun")
        await asyncio.Event().wait()

    async def quick(settings: Settings, notes: Notes) -> None:
        notes.ok("quick")

    began = steady_clock_ms()
    findings = await doctor.examined(settings_of(tmp_path), {"a": hangs, "b": quick}, 0.2)
    assert steady_clock_ms() - began < 1_000
    assert [(one.check, one.state, one.exit_code) for one in findings] == [
        ("a", "ok", 0), ("a", "problem", Unavailable.exit_code), ("b", "ok", 0),
    ]  # fmt: skip
    assert findings[1].fact == "no answer in 0.2 s"


async def test_a_check_that_is_broken_is_named_without_a_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(settings: Settings, notes: Notes) -> None:
        raise KeyError("x")

    (one,) = await doctor.examined(settings_of(tmp_path), {"a": broken})
    assert (one.state, "KeyError" in one.fact) == ("problem", True)
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_lines_are_aligned_also_those_that_are_broken() -> None:
    checks = [
        {"check": "log", "state": "ok", "fact": "fine", "fix": ""},
        {"check": "log", "state": "warning", "fact": "odd", "fix": "do"},
        {"check": "relational", "state": "problem", "fact": "gone", "fix": "do"},
    ]
    answer = {"dc": "fra", "problems": 1, "warnings": 1, "took_ms": 100, "checks": checks}
    args = parser().parse_args(["doctor", "--config", "x"])
    assert text.of(args, answer).splitlines() == [
        "fra: 1 problem, 1 warning (0.1 s)",
        "  ✓ log         fine",
        "  !             odd",
        "                → do",
        "  ✗ relational  gone",
        "                → do",
    ]
    long = "  ✗ relational  " + "word " * 12 + "\n                → " + "do " * 20
    assert {line[:16] for line in text.fitted(long.rstrip(), 50).splitlines()[1:]} == {" " * 16}
    assert text.fitted("  ✗ a sentence of a status " + "word " * 9, 50).splitlines()[1].startswith("    word")


# -- Valkeys


@pytest.mark.parametrize(
    ("said", "fact", "fix"),
    [
        ("appendfsync everysec", "appendfsync is everysec", "CONFIG SET appendfsync always"),
        ("appendonly no", "appendonly is no", "CONFIG SET appendonly yes"),
        ("maxmemory-policy allkeys-lru", "maxmemory-policy is allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
    ],
)
async def test_a_log_that_could_lose_something_is_set_right_by_what_is_said(
    tmp_path: Path, log: ValkeyServer, said: str, fact: str, fix: str
) -> None:
    settings = settings_of(tmp_path, stores__log_url=log.url)
    assert all_ok(await found(settings, "log"))
    log.ask(f"CONFIG SET {said}")
    one = worst(await found(settings, "log"))
    assert (one.state, one.exit_code) == ("problem", ConfigError.exit_code)
    assert fact in one.fact and fix in one.fix
    log.ask(one.fix[one.fix.index("CONFIG") : one.fix.index(",")])
    assert all_ok(await found(settings, "log"))
    log.kill()  # it would write its file anew before it ends


@pytest.mark.parametrize(
    ("said", "state", "fact"),
    [
        ("maxmemory-policy allkeys-lru", "problem", "maxmemory-policy is allkeys-lru"),
        ("maxmemory-policy volatile-ttl", "warning", "maxmemory-policy is volatile-ttl"),
        ("appendonly yes", "warning", "writes to its disk"),
        ('save "60 1"', "warning", "writes to its disk"),
        ("maxmemory 1mb", "problem", "used of 1.0 MB"),
    ],
)
async def test_hot_state_that_would_vanish_or_be_kept_is_named(
    tmp_path: Path, hot: ValkeyServer, said: str, state: str, fact: str
) -> None:
    settings = settings_of(tmp_path, stores__hot_url=hot.url)
    assert all_ok(await found(settings, "hot"))
    assert hot.ask(f"CONFIG SET {said}") == b"+OK"
    findings = await found(settings, "hot")
    assert any(one.state == state and fact in one.fact and one.fix for one in findings), findings
    hot.kill()


@pytest.mark.parametrize("which", ["log", "hot"])
async def test_a_password_that_is_wrong_or_missing_is_known_from_a_server_that_is_down(
    tmp_path: Path, valkey_server: ValkeyFactory, which: str
) -> None:
    server = valkey_server("always" if which == "log" else None)
    server.ask("CONFIG SET requirepass s3cret")
    file = tmp_path / "password"
    file.touch(mode=0o600)
    for said in ("", "wrong\n", "s3cret\n"):
        file.write_text(said)
        settings = settings_of(tmp_path, **{
            f"stores__{which}_url": server.url, f"secrets__{which}_password_file": str(file) if said else None,
        })  # fmt: skip
        findings = await found(settings, which)
        if said == "s3cret\n":
            assert all_ok(findings)
            opened = await event_log.opened(settings) if which == "log" else hot_state.opened(settings)
            assert await (opened.tops() if which == "log" else opened.epoch()) in ({}, None), "as `serve` opens it"
            await opened.close()
            continue
        one = worst(findings)
        assert one.exit_code == ConfigError.exit_code
        assert "does not let us in" in one.fact and f"secrets.{which}_password_file" in one.fix
        assert "wrong" not in one.fact.replace("WRONGPASS", "")


@pytest.mark.parametrize("which", ["log", "hot"])
async def test_a_server_that_stands_still_is_said_to_be_frozen(
    tmp_path: Path, log: ValkeyServer, hot: ValkeyServer, which: str
) -> None:
    server = log if which == "log" else hot
    settings = settings_of(tmp_path, **{f"stores__{which}_url": server.url})
    os.kill(server.pid, signal.SIGSTOP)
    try:
        one = worst(await found(settings, which))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert (one.state, one.exit_code) == ("problem", Unavailable.exit_code)
    assert "does not answer" in one.fact
    assert all_ok(await found(settings, which))


async def test_one_server_can_not_be_both(tmp_path: Path, log: ValkeyServer) -> None:
    settings = settings_of(tmp_path, stores__log_url=log.url, stores__hot_url=log.url.replace("/0", "/1"))
    assert any("the log's server" in one.fact and one.state == "problem" for one in await found(settings, "hot"))


async def test_what_is_no_valkey_is_said_to_answer_nonsense(tmp_path: Path) -> None:
    async with World("fra") as world:
        settings = settings_of(tmp_path, stores__log_url=f"redis://127.0.0.1:{world['fra'].port}/0")
        one = worst(await found(settings, "log"))
    assert one.state == "problem" and "protocol" in one.fact, one


async def test_a_cluster_is_well_until_a_node_is_gone(tmp_path: Path, valkey_cluster: ValkeyCluster) -> None:
    ports = [server.port for server in valkey_cluster.servers]
    settings = settings_of(tmp_path, stores__hot_url=f"redis+cluster://127.0.0.1:{ports[0]}")
    findings = await found(settings, "hot")
    assert all_ok(findings)
    assert sum(one.fact.startswith("Valkey") for one in findings) == 3
    assert any(one.fact == "3 primaries serve all 16,384 slots" for one in findings)
    valkey_cluster.servers[1].kill()
    one = worst(await found(settings, "hot"))
    assert one.exit_code == Unavailable.exit_code and f":{ports[1]} does not answer" in one.fact


# -- files and folders


async def test_keys_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    (tmp_path / "s").chmod(0o666)
    (tmp_path / "k").unlink()
    findings = await found(settings, "files")
    assert {one.fact.partition(":")[0] for one in findings} == {"secrets.sys_key_file", "secrets.signing_key_file"}
    assert {one.exit_code for one in findings} == {ConfigError.exit_code}


@pytest.mark.parametrize("name", ["data", "objects"])
async def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path, name: str) -> None:
    """Whoever may write everywhere is stopped by a file's greatest size."""
    settings = settings_of(tmp_path)
    (tmp_path / name / ".tmp").mkdir(parents=True)
    assert "problem" not in {one.state for one in await found(settings, "disks")}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        one = worst(await found(settings, "disks"))
        stored = worst(await found(settings, "objects"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert one.exit_code == Unavailable.exit_code and "File too large" in one.fact
    assert (stored.state == "problem") is (name == "objects")
    assert tree(tmp_path / name) == {tmp_path / name / ".tmp"}


@pytest.fixture(params=["data"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own as data_dir, or as what the test says, where we may mount one."""
    folder = tmp_path / request.param
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1048576", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_is_said(tmp_path: Path) -> None:
    one = worst(await found(settings_of(tmp_path), "disks"))
    assert one.exit_code == Unavailable.exit_code and "data_dir: 1.0 MB free of 1.0 MB" in one.fact
    assert "make room" in one.fix


async def test_files_of_rows_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    file = tmp_path / "data" / "relational.db"
    assert "made by the first start" in (await found(settings, "relational"))[0].fact
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version=1")
        connection.commit()
    before = file.read_bytes()
    assert all_ok(await found(settings, "relational"))
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]
    file.write_bytes(before[:VERSION_AT] + (77).to_bytes(4) + before[VERSION_AT + 4 :])
    newer = worst(await found(settings, "relational"))
    assert (newer.exit_code, "schema 77; this program knows 1" in newer.fact) == (ConfigError.exit_code, True)
    file.write_bytes(b"something else" * 100)
    assert "damaged" in worst(await found(settings, "relational")).fact
    file.write_bytes(MAGIC)
    assert not header_of(file).sound, "cut short"  # type: ignore[union-attr]
    file.write_bytes(b"")
    assert all_ok(await found(settings, "relational"))


@pytest.mark.parametrize("small_disk", ["objects"], indirect=True)
async def test_objects_on_a_full_disk_want_room_and_nothing_else(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / ".tmp").mkdir()
    with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    one = worst(await found(settings_of(tmp_path), "objects"))
    assert one.exit_code == Unavailable.exit_code
    assert "No space left on device" in one.fact and "Errno" not in one.fact and "OSError" not in one.fact
    assert one.fix.startswith(f"make room in {small_disk}")


async def test_objects_that_are_gone_are_told_from_those_that_are_not_there_yet(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert all_ok(await found(settings, "objects"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "relational.db").touch()
    one = worst(await found(settings, "objects"))
    assert one.exit_code == ConfigError.exit_code and "has run before" in one.fact
    (tmp_path / "objects").mkdir()
    assert all_ok(await found(settings, "objects"))
    assert not tree(tmp_path / "objects"), "the mark that there are objects is not left"
    (tmp_path / "objects" / ".tmp").mkdir()
    (one,) = await found(settings, "objects")
    assert one.state == "ok" and "read, listed and deleted again" in one.fact
    assert tree(tmp_path / "objects") == {tmp_path / "objects" / ".tmp"}


async def test_a_datacenter_that_burnt_down_is_told_to_be_restored_before_it_is_started(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    objects = DirectoryObjects(tmp_path / "objects")
    await objects.put(key_of("20261123T194359.482Z-fra"), b"{}")
    (_, one) = await found(settings, "objects")
    assert one.state == "warning" and "20261123T194359.482Z-fra" in one.fact and "burnt" in one.fact
    assert one.fix.startswith("planb restore --dry-run")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "relational.db").touch()
    assert all_ok(await found(settings, "objects"))


# -- processes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else those who say nothing are waited for."""
    monkeypatch.setattr(others, "ANSWER_S_MAX", SOON_S_MAX)


@pytest.mark.usefixtures("impatient")
async def test_peers_are_who_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "s").touch(mode=0o600)
    async with World("fra", "ams") as world:
        urls = {name: f"http://127.0.0.1:{world[name].port}" for name in ("fra", "ams")}
        peer = {"number": 2, "public_key": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}

        def told(name: str, url: str) -> Settings:
            settings = settings_of(tmp_path, peers={name: peer | {"sys_url": url}})
            (tmp_path / "s").write_bytes(KEY)
            return settings

        right = told("ams", urls["ams"])
        (one,) = await found(right, "peer ams")
        assert one.state == "ok" and "is ams, its clock" in one.fact
        (tmp_path / "s").write_bytes(bytes(32))
        refused = worst(await found(right, "peer ams"))
        assert refused.exit_code == ConfigError.exit_code and "sha256sum" in refused.fix
        wrong = worst(await found(told("nyc", urls["ams"]), "peer nyc"))
        assert wrong.exit_code == ConfigError.exit_code, "it answers only who calls it by its name"
    async with silent() as port:
        down = worst(await found(told("ams", f"http://127.0.0.1:{port}"), "peer ams"))
        assert down.exit_code == Unavailable.exit_code and "no word" in down.fact
    gone = worst(await found(told("ams", urls["ams"]), "peer ams"))
    assert gone.exit_code == Unavailable.exit_code and "Connection refused" in gone.fact


async def test_a_clock_that_is_wrong_is_seen_at_a_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World("fra", "ams") as world:
        peer = {"number": 2, "public_key": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}
        url = f"http://127.0.0.1:{world['ams'].port}"
        settings = settings_of(tmp_path, peers={"ams": peer | {"sys_url": url}})
        (tmp_path / "s").write_bytes(KEY)
        monkeypatch.setattr(others, "wall_clock_ms", lambda: wall_clock_ms() - 5_000)
        one = worst(await found(settings, "peer ams"))
    assert one.exit_code == ConfigError.exit_code
    assert "its clock +" in one.fact and "clock is wrong" in one.fix


@pytest.mark.usefixtures("impatient")
async def test_a_port_that_somebody_else_has_is_named(tmp_path: Path, hot: ValkeyServer) -> None:
    ports = free_port(), free_port()
    settings = settings_of(tmp_path, public__port=ports[0], sys__port=ports[1])
    assert all_ok(await found(settings, "this process"))
    other = worst(await found(settings_of(tmp_path, public__port=hot.port, sys__port=ports[1]), "this process"))
    assert other.exit_code == ConfigError.exit_code and f"127.0.0.1:{hot.port}" in other.fact
    async with silent() as taken:
        for places in ((taken, ports[1]), (ports[0], taken)):
            there = settings_of(tmp_path, public__port=places[0], sys__port=places[1])
            frozen = worst(await found(there, "this process"))
            assert frozen.exit_code == Unavailable.exit_code and f":{taken}" in frozen.fact
    async with World("fra") as world:
        own = settings_of(tmp_path, public__port=world["fra"].port, sys__port=ports[1])
        ready = (await found(own, "this process"))[1]
        assert (ready.state, "clients may come" in ready.fact) == ("ok", True), "our own answer to /readyz"
    elsewhere = settings_of(tmp_path, public__port=ports[0], sys__port=ports[1], public__host="192.0.2.1")
    assert "can't listen on 192.0.2.1" in worst(await found(elsewhere, "this process")).fact

"""Settings: file and environment, all that is wrong with them at once, and what is shown can be read again."""

import asyncio
import base64
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from cli import config, text
from cli import settings as configuration
from cli.main import main
from cli.settings import Settings
from cli.settings_keys import ANY, dotted, example_at, field_at, leaves_of, nearest
from cli.settings_sources import Wrong, json_like, listed, read
from cli.toml_text import toml_lines
from core import limits
from core.errors import ConfigError
from events.signing import Signer
from stores.adapters.valkey_batcher import Server

KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
GOOD: dict[str, Any] = {
    "dc": {"name": "fra", "number": 1},
    "public": {"port": 8080},
    "sys": {"port": 8081},
    "stores": {
        "data_dir": "/data",
        "objects_dir": "/objects",
        "log_url": "redis://127.0.0.1:6379/0",
        "hot_url": "redis://127.0.0.1:6380/0",
    },
    "secrets": {"token_key_file": "t", "sys_key_file": "s", "signing_key_file": "k"},
    "peers": {"iad": {"number": 2, "sys_url": "http://iad:1", "public_key": KEY}},
}


def changed(**values: Any) -> dict[str, Any]:
    """GOOD with other values: stores__log_url="x"; None takes one away."""
    table = json_like(GOOD)
    for name, value in values.items():
        *tables, last = name.split("__")
        at = table
        for part in tables:
            at = at.setdefault(part, {})
        if value is None:
            del at[last]
        else:
            at[last] = value
    return dict(table)


def written(folder: Path, table: dict[str, Any]) -> Path:
    path = folder / "fra.toml"
    path.write_text("\n".join(toml_lines(table)))
    return path


def wrong(path: Path) -> dict[str, Wrong]:
    return {one.key: one for one in read(path).wrong}


def test_all_that_is_wrong_is_said_at_once_and_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANB_SERIES__RETENTION_DAYS", "soon")
    monkeypatch.setenv("PLANB_STORE__DATA_DIR", "/elsewhere")
    monkeypatch.setenv("PLANB_COORDINATION__ETCD_ENDPOINTS", "http://etcd:2379")
    path = written(tmp_path, changed(
        dc__name="Fra", dc__number=None, stores__log_url=None, stores__log_ur="redis://x", sys__port=8080,
        stores__s3_credentials_file="c", stores__pulsar={"tenent": "a"}, peers__nrt=changed()["peers"]["iad"],
        secrets__signing_key_file=None,
    ))  # fmt: skip
    found = wrong(path)
    file = str(path)
    assert {(one.key, one.source) for one in found.values()} == {
        ("series.retention_days", "PLANB_SERIES__RETENTION_DAYS"),
        ("store.data_dir", "PLANB_STORE__DATA_DIR"),
        ("coordination.etcd_endpoints", "PLANB_COORDINATION__ETCD_ENDPOINTS"),
        *((key, file) for key in (
            "dc.name", "dc.number", "stores.log_url", "stores.log_ur", "stores.s3_credentials_file",
            "stores.pulsar.tenent", "secrets.signing_key_file", "sys.port", "peers.nrt.number", "peers.nrt.sys_url",
            "peers.nrt.public_key",
        )),
    }  # fmt: skip
    assert found["store.data_dir"].write == "PLANB_STORES__DATA_DIR"
    assert found["stores.log_ur"].write == "stores.log_url instead"
    assert found["stores.s3_credentials_file"].write == "secrets.s3_credentials_file instead"
    assert found["stores.pulsar.tenent"].write == "stores.pulsar.tenant instead"
    assert found["dc.name"].write == 'for example dc.name = "fra"'
    assert "31" not in str(found["dc.number"]), "it is missing, and no example's fault"
    with pytest.raises(ConfigError, match=r"dc\.number: is missing") as refused:
        configuration.load(path)
    assert all(str(one) in refused.value.detail for one in found.values()), "`serve` says the same"


def test_what_is_wrong_does_not_bring_up_what_is_not(tmp_path: Path) -> None:
    for table, key in (
        (changed(stores__log_url="pulsar://c", stores__pulsar={"admin_url": "nowhere"}), "stores.pulsar.admin_url"),
        (changed(stores__objects_dir=None, stores__objects_dri="/objects"), "stores.objects_dri"),
        (changed(dc=3), "dc"),
        (changed(peers__IAD={}), "peers.IAD"),
    ):
        (one,) = read(written(tmp_path, table)).wrong
        assert one.key == key
    assert not read(written(tmp_path, changed())).wrong


def test_the_environment_is_over_the_file_and_a_table_may_come_from_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANB_PUBLIC__PORT", "9090")
    monkeypatch.setenv("planb_stores__mysql", '{"connections": 3}')
    monkeypatch.setenv("PLANB_STORES__RELATIONAL_URL", "mysql://planb@db/planb")
    monkeypatch.setenv(
        "PLANB_PEERS__NRT", json.dumps({"number": 3, "sys_url": "http://nrt:1", "public_key": KEY[::-1]})
    )
    monkeypatch.setenv("PLANB_PEERS__NRT__PUBLIC_KEY", base64.b64encode(bytes(32)).decode())
    monkeypatch.setenv("PLANB_TOKEN", "of somebody, and no setting")
    found = read(written(tmp_path, changed()))
    assert found.settings is not None and not found.wrong
    assert found.settings.names == {1: "fra", 2: "iad", 3: "nrt"}
    sources = {dotted(place): (value, variable or source) for place, value, source, variable in
               listed(found.sources, found.settings)}  # fmt: skip
    assert sources["public.port"] == (9090, "PLANB_PUBLIC__PORT")
    assert sources["public.host"] == ("127.0.0.1", "default")
    assert sources["sys.port"] == (8081, "file")
    assert sources["stores.mysql.connections"] == (3, "planb_stores__mysql")
    assert sources["stores.mysql.tls"] == (False, "default")
    assert sources["peers.nrt.number"] == (3, "PLANB_PEERS__NRT")
    assert sources["peers.nrt.public_key"][1] == "PLANB_PEERS__NRT__PUBLIC_KEY"


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("redis://:s3cret@127.0.0.1:6379/0", True),
        ("redis://planb:s3cret@127.0.0.1:6379/0", True),
        ("unix:///run/valkey?password=s3cret", True),
        ("redis://planb@127.0.0.1:6379/0", False),
        ("unix:///run/valkey?db=1", False),
    ],
)
def test_no_password_is_in_the_settings(tmp_path: Path, url: str, refused: bool) -> None:
    for key in ("log_url", "hot_url"):
        found = wrong(written(tmp_path, changed(**{f"stores__{key}": url})))
        assert (f"stores.{key}" in found) is refused
        assert "s3cret" not in str(found)


@pytest.mark.parametrize("url", ["redis://h:1/2", "redis://planb@h:1/2", "unix:///run/valkey?db=2"])
def test_a_password_comes_from_its_file_and_both_drivers_read_it(tmp_path: Path, url: str) -> None:
    file = tmp_path / "password"
    file.write_text("a:b@c/d?e#f%40\n")
    whole = configuration.with_password(url, file)
    server = Server(whole)
    assert server.password == parse_url(whole)["password"] == "a:b@c/d?e#f%40"
    assert server.username == ("planb" if "planb" in url else None)
    assert (server.path or (server.host, server.port)) == ("/run/valkey" if "unix" in url else ("h", 1))
    assert server.db == 2
    assert configuration.with_password(url, None) == url


def test_what_has_to_be_there_has_an_example_that_would_do() -> None:
    table: dict[str, Any] = {}
    for place in leaves_of(Settings):
        field = field_at(place) or field_at(tuple("iad" if part == ANY else part for part in place))
        assert field is not None, place
        if field.is_required() and "pulsar" not in place:
            at = table
            for part in place[:-1]:
                at = at.setdefault("iad" if part == ANY else part, {})
            at[place[-1]] = example_at(tuple("iad" if part == ANY else part for part in place))
    assert Settings(**table).dc.name == "fra"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stores.data_dri", "stores.data_dir"),
        ("store.data_dir", "stores.data_dir"),
        ("store", "stores"),
        ("peers.iad.sysurl", "peers.iad.sys_url"),
        ("stores.mysql_password_file", "secrets.mysql_password_file"),
        ("stores.tdengine_url", "series.tdengine_url"),
        ("stores.zzz", ""),
    ],
)
def test_the_nearest_name_is_offered(said: str, meant: str) -> None:
    assert nearest(tuple(said.split("."))) == meant


# -- the commands


def keys(folder: Path) -> dict[str, Any]:
    for name, size in (("t", 32), ("s", 40), ("k", 32)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(bytes([size]) * size)
    return changed(
        secrets={f"{long}_key_file": str(folder / short) for long, short in
                 (("token", "t"), ("sys", "s"), ("signing", "k"))},
        stores__data_dir=str(folder / "data"), stores__objects_dir=str(folder / "objects"),
    )  # fmt: skip


def test_check_is_content_before_the_first_start_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, keys(tmp_path))
    before = set(tmp_path.iterdir())
    assert main(["config", "check", "--config", str(path), "--text"]) == 0
    assert capsys.readouterr().out == f"{path}: nothing is wrong\n"
    assert set(tmp_path.iterdir()) == before


def test_check_looks_at_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = keys(tmp_path)
    (tmp_path / "t").chmod(0o644)
    (tmp_path / "s").write_bytes(b"short")
    (tmp_path / "k").unlink()
    (tmp_path / "file").touch()
    (tmp_path / "empty").touch(mode=0o600)
    table["stores"]["data_dir"] = str(tmp_path / "file" / "data")
    table["secrets"]["log_password_file"] = str(tmp_path / "empty")
    path = written(tmp_path, table)
    assert main(["config", "check", "--config", str(path), "--json"]) == 8
    answer = json.loads(capsys.readouterr().out)
    assert {one["key"]: one["problem"].partition(": ")[2] or one["problem"].split(" ", 1)[1] for one in
            answer["wrong"]} == {
        "secrets.token_key_file": "can be read or written by everybody (-rw-r--r--)",
        "secrets.sys_key_file": "has 5 bytes; a key has at least 32",
        "secrets.signing_key_file": "No such file or directory",
        "secrets.log_password_file": "has 0 lines",
        "stores.data_dir": f"{tmp_path / 'file'} is a file",
    }  # fmt: skip
    by_key = {one["key"]: one["write"] for one in answer["wrong"]}
    assert by_key["secrets.token_key_file"] == f"chmod 600 {tmp_path / 't'}"
    assert "> " not in by_key["secrets.sys_key_file"], "what is there is not to be written over"
    assert "head -c 32 /dev/urandom" in by_key["secrets.signing_key_file"]


def test_check_finds_the_own_key_at_a_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = keys(tmp_path)
    table["peers"]["iad"]["public_key"] = base64.b64encode(Signer(bytes([32]) * 32).public).decode()
    assert main(["config", "check", "--config", str(written(tmp_path, table)), "--text"]) == 8
    assert "✗ peers.iad.public_key: it is this datacenter's own" in capsys.readouterr().out


def test_every_command_says_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, changed(stores__log_url=None, stores__log_ur="redis://x"))
    for words in (["doctor"], ["status"], ["config", "show"]):
        assert main([*words, "--config", str(path), "--json"]) == 8
        said = capsys.readouterr()
        first, *others = said.err.splitlines()
        assert first.startswith(
            f"planb {words[0]}: {path}: stores.log_url: is missing; stores.log_ur: there is no such"
        )
        assert others == [
            '  stores.log_url → for example stores.log_url = "redis://127.0.0.1:6379/0"',
            "  stores.log_ur → stores.log_url instead",
        ]
        assert [one["key"] for one in json.loads(said.out)["wrong"]] == ["stores.log_url", "stores.log_ur"]


@pytest.mark.parametrize("content", ["[dc", None, "\udcff"])
def test_what_is_no_settings_file_is_said_so(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fra.toml"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    assert main(["config", "check", "--config", str(path), "--text"]) == 8
    assert main(["config", "show", "--config", str(path), "--text"]) == 8
    assert ("no such file" if content is None else "not TOML") in capsys.readouterr().out


def test_show_names_the_source_of_each_and_hides_what_is_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANB_PUBLIC__PORT", "9090")
    path = written(tmp_path, keys(tmp_path))
    assert main(["config", "show", "--config", str(path), "--text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["port", "=", "9090", "#", "$PLANB_PUBLIC__PORT"] for line in lines)
    assert any(line.split() == ["port", "=", "8081", "#", "file"] for line in lines)
    assert any(line.split() == ["lease_s", "=", "10.0", "#", "default"] for line in lines)
    assert "# not set: tdengine_url" in lines


PATHS = st.text(min_size=1, max_size=6).filter(lambda text: "\0" not in text).map(lambda text: f"/{text}")
PEERS = st.lists(st.sampled_from(("iad", "nrt", "a-1", "x")), unique=True, max_size=3)


@st.composite
def anything(draw: st.DrawFn) -> dict[str, Any]:
    whole = changed(
        peers={
            name: {"number": at + 2, "sys_url": f"https://{name}:1/{at}",
                   "public_key": base64.b64encode(bytes([at]) * 32).decode()}
            for at, name in enumerate(draw(PEERS))
        },
        stores__data_dir=draw(PATHS),
        public__proxies=draw(st.sampled_from(([], ["10.0.0.1", "::1"]))),
        public__cors_origins=draw(st.sampled_from(([], ["https://chat.example.com", "http://[::1]:8000"]))),
        coordination=draw(st.sampled_from([
            {}, {"etcd_endpoints": ["http://e:1", "https://f:2"]}, {"dir": "/a\x7f\t\"\\\U0001f600"},
            {"lease_s": draw(st.floats(limits.LEASE_MS_MIN / 1000, limits.LEASE_MS_MAX / 1000))},
        ])),
        series={"enabled": draw(st.booleans())},
    )  # fmt: skip
    if draw(st.booleans()):
        whole["stores"]["relational_url"] = "mysql://planb@db:1/planb"
        whole["stores"]["mysql"] = {"tls": True, "ca_file": draw(PATHS)}
    return whole


@given(anything())
@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_shown_can_be_used_again_and_means_the_same(tmp_path: Path, whole: dict[str, Any]) -> None:
    first = configuration.load(written(tmp_path, whole))
    args = Namespace(command="config", verb="show", config=tmp_path / "fra.toml")
    shown = text.of(args, asyncio.run(config.run(args)))
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert configuration.load(again) == first

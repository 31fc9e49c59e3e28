"""A demo's folder may be used again: its lanes are still proved by the keys that they were written with. What a
planet's datacenters are told of each other."""

import base64
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli import settings as configuration
from cli.engines import Fault, PulsarPlace
from cli.planet import FEED, PULL, Planet
from cli.servers import Child
from events.signing import Signer

NAMES = ("fra", "iad")


def keys(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "keys").iterdir()}


def test_a_folder_that_is_used_again_keeps_its_keys(tmp_path: Path) -> None:
    Planet(tmp_path, NAMES)
    first = keys(tmp_path)
    Planet(tmp_path, NAMES)
    assert keys(tmp_path) == first
    assert set(first) == {"token.key", "sys.key", "fra.signing.key", "iad.signing.key"}


def test_each_datacenter_knows_the_others_by_their_public_keys(tmp_path: Path) -> None:
    planet = Planet(tmp_path, NAMES)
    for name, other in (NAMES, NAMES[::-1]):
        peers = tomllib.loads(planet.site(name).settings.read_text())["peers"]
        public = Signer((tmp_path / "keys" / f"{other}.signing.key").read_bytes()).public
        assert base64.b64decode(peers[other]["public_key"]) == public


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    Planet(tmp_path, NAMES)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


class Pulsars:
    """Of a datacenter that stands on a Pulsar and an etcd, as far as its settings go."""

    log, hot, stopped_s, has_snapshot = True, False, 1.0, None

    def __init__(self, site: str) -> None:
        self.pulsar: PulsarPlace | None = PulsarPlace(site, 6650, 8080)
        admin = {"admin_url": "http://127.0.0.1:8080"}
        self.stores: Mapping[str, Any] = {"log_url": "pulsar://127.0.0.1:6650", "pulsar": admin}
        self.coordination: Mapping[str, Any] = {"etcd_endpoints": ["http://127.0.0.1:2379"], "lease_s": 5.0}
        self.children: Sequence[Child] = ()
        self.parts: Mapping[str, Child] = {}
        self.secrets: Mapping[str, Path] = {}
        self.faults: Sequence[Fault] = ()
        self.listeners: dict[str, int] = {}

    def reached_by(self, listeners: Mapping[str, int]) -> None:
        self.listeners |= listeners

    async def start(self) -> None:
        raise AssertionError("nothing is started")

    def kill(self, *, objects: bool) -> None:
        raise AssertionError("nothing was started")


class OnPulsars:
    def engines(self, site: str, home: Path, disks: Path) -> Pulsars:
        return Pulsars(site)


def test_pulsars_reach_each_other_by_relays_that_are_cut_with_the_link_or_alone(tmp_path: Path) -> None:
    planet = Planet(tmp_path, ("fra", "iad"), OnPulsars())
    settings = configuration.load(planet.site("fra").settings)
    assert settings.coordination.etcd_endpoints == ["http://127.0.0.1:2379"]
    broker, admin = planet.pulsar_links["fra", "iad"]
    reached = settings.peers["iad"].pulsar
    assert reached is not None
    assert (reached.cluster, reached.listener) == ("iad", "fra")
    assert reached.broker_url == f"pulsar://127.0.0.1:{broker.port}"
    assert reached.admin_url == f"http://127.0.0.1:{admin.port}"
    engines = planet.site("iad").engines
    assert isinstance(engines, Pulsars)
    assert engines.listeners == {"fra": broker.port}
    assert planet.site("fra").replicates_to == ("iad",)

    def cut() -> tuple[set[bool], set[bool]]:
        pulsars = [link for links in planet.pulsar_links.values() for link in links]
        return {link.cut_now for link in planet.links.values()}, {link.cut_now for link in pulsars}

    planet.cut("fra", "iad", [FEED])
    assert cut() == ({False}, {True})
    planet.cut("fra", "iad")
    assert cut() == ({True}, {True})
    planet.heal("fra", "iad", [PULL])
    assert cut() == ({False}, {True})
    planet.heal("fra", "iad")
    assert cut() == ({False}, {False})

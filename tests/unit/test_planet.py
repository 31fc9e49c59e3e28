"""A demo's folder may be used again: its lanes are still proved by the keys that they were written with."""

import base64
import tomllib
from pathlib import Path

from cli.planet import Planet
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

"""The headless demo on real servers: the same claims, and those of the servers that break."""

import argparse
import json
from pathlib import Path

import pytest

from cli import demo, engines
from cli.toml_text import toml_lines
from core.errors import Invalid
from tests.support.bad_days import finished, planb_process
from tests.support.servers import needs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
RUN_S_MAX = 540.0
SERVERS = ("seaweedfs", "redis", "cassandra", "java", "mariadb", "pulsar", "etcd")
PULSARS_CUT = "fra and iad have Pulsars that are cut off from each other"
PULSARS_LEFT = "fra and iad are cut off from each other but for their Pulsars"


async def test_every_claim_holds_on_real_servers(tmp_path: Path) -> None:
    needs(*SERVERS)
    words = ("--engines", "real", "--messages", "200", "--stopped", "5", "--home", str(tmp_path))
    ran = await finished(await planb_process("demo", "--headless", "--json", *words), RUN_S_MAX)
    assert ran.code == 0, ran.err[-2000:]
    found = json.loads(ran.out)
    assert found["ok"] is True, found["claims"]
    assert list(found["digests"]) == ["fra", "iad"]
    faults = {fault["what"]: fault for fault in found["faults"]}
    there = engines.provider("real", 5).engines("fra", tmp_path / "home", tmp_path / "disks").faults
    cut = {PULSARS_CUT, PULSARS_LEFT, f"{PULSARS_LEFT}, after the rebuild"}
    assert set(faults) == {f"fra {fault.what}" for fault in there} | cut
    assert set(faults) >= {"fra loses all that its Redis holds", "fra has a Cassandra that stands still"}
    for what, fault in faults.items():
        assert found["claims"][f"digests are equal after {what}"]
        if fault["broken_s"]:
            assert found["claims"][f"the others are written to while {what}"]
            assert fault["written_elsewhere"] > 0
    assert found["claims"]["hot state is written anew after fra loses all that its Redis holds"]
    assert found["claims"]["writes are refused by lease_lost while fra has its etcd killed"]
    for what, by, not_by in ((PULSARS_CUT, "pulling", "Pulsar"), (PULSARS_LEFT, "Pulsar", "pulling")):
        assert found["claims"][f"records come by {by} while {what}"]
        assert found["claims"][f"none come by {not_by} while {what}"]
    assert found["claims"][f"records come by Pulsar while {PULSARS_LEFT}, after the rebuild"]
    assert faults[PULSARS_CUT]["came"]["iad"]["pull"] > 0
    assert faults[PULSARS_LEFT]["came"]["iad"]["feed"] > 0
    assert found["rebuild"]["rows"] > 0
    settings = (tmp_path / "iad" / "settings.toml").read_text()
    assert not (tmp_path / "iad" / "objects").exists(), "all objects are in S3"
    for part in ("s3://", "cassandra://", "mysql://", "pulsar://", "etcd_endpoints"):
        assert part in settings


async def test_real_engines_have_no_folder_for_objects(tmp_path: Path) -> None:
    args = argparse.Namespace(
        engines="real", objects="folder", home=tmp_path, headless=True, input=[], seed=1, messages=1, stopped=1.0
    )
    with pytest.raises(Invalid, match="real engines have S3"):
        await demo.run(args)


def test_settings_are_written_as_what_is_read() -> None:
    import tomllib

    table = {"a": {"b": 'x"y', "c": {"d": True, "e": {"f": Path("/g")}}, "h": 1.5}, "i": {}, "j": 7}
    read = tomllib.loads("\n".join(toml_lines(table)))
    assert read == {"a": {"b": 'x"y', "c": {"d": True, "e": {"f": "/g"}}, "h": 1.5}, "i": {}, "j": 7}

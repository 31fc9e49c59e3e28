"""The SDK as a stranger gets it: a package of its own, installed alone, running the README's first program."""

import asyncio
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from cli.planet import Planet
from cli.sys_client import SysClient
from tests.support.markdown import ROOT, blocks

SDK = ROOT / "sdk/python"


def test_it_wants_of_aiohttp_what_the_server_wants() -> None:
    theirs = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]["dependencies"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert theirs == [one for one in ours if one.startswith("aiohttp")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a fresh environment that has the package as it is built, and nothing else of ours."""
    home = tmp_path_factory.mktemp("sdk")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = home / "source"
    source.mkdir()
    # A copy: a build leaves its traces beside the source.
    for name in ("pyproject.toml", "README.md"):
        (source / name).write_bytes((SDK / name).read_bytes())
    (source / "planb_sdk").mkdir()
    for file in (SDK / "planb_sdk").glob("*.*"):
        (source / "planb_sdk" / file.name).write_bytes(file.read_bytes())
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", home, source], check=True)
    (wheel,) = home.glob("*.whl")
    venv.create(home / "venv", with_pip=False)
    made = home / "venv/bin/python"
    subprocess.run([*pip, "--python", made, "install", "--no-index", "--no-deps", wheel], check=True)
    return made


def test_it_is_found_where_it_was_installed_and_brings_its_types(python: Path) -> None:
    code = "import pathlib, planb_sdk, sys; here = pathlib.Path(planb_sdk.__file__).parent"
    code += "; assert here.is_relative_to(sys.prefix), here; assert (here / 'py.typed').is_file()"
    subprocess.run([python, "-c", code], check=True, env=environment())


def environment() -> dict[str, str]:
    """aiohttp is ours, so that no network is needed; our own packages are not found by it (they are linked by .pth)."""
    return os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}


@pytest.mark.e2e
@pytest.mark.timeout(120)
async def test_the_first_program_of_the_readme_runs_against_real_datacenters(python: Path, tmp_path: Path) -> None:
    first, _ = blocks(SDK / "README.md")
    lines = [line for line in first.text.splitlines() if line.strip()]
    assert len(lines) <= 15
    (tmp_path / "first.py").write_text(first.text)
    planet = Planet(tmp_path / "planet", ("fra", "nrt"))
    await planet.start()
    try:
        site = planet.site("fra")
        async with SysClient("fra", f"http://127.0.0.1:{site.ports.sys}", planet.sys_key) as sys_client:
            await sys_client.call("PUT", "/sys/v1/users/Uada", {"name": "Ada"}, key="1")
            answer = await sys_client.call("POST", "/sys/v1/tokens", {"user": "Uada", "device": "desk"}, key="2")
        program = await asyncio.create_subprocess_exec(
            python,
            tmp_path / "first.py",
            site.url,
            planet.site("nrt").url,
            stdout=subprocess.PIPE,
            env=environment() | {"AUTH": f"Authorization: Bearer {answer['token']}"},
        )
        out, _ = await asyncio.wait_for(program.communicate(), 60)
        assert (program.returncode, out.decode()) == (0, "Uada wrote: note to self\n")
    finally:
        await planet.stop()

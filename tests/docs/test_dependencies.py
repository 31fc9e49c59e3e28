"""What we depend on: pinned with hashes, named with its reason, used, and under a licence that we may ship."""

import ast
import importlib.util
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import Distribution, distribution, distributions, packages_distributions
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.markdown import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUN_TIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
ENGINES = [Requirement(text) for text in PROJECT["project"]["optional-dependencies"]["engines"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["project"]["optional-dependencies"]["dev"]]
PRODUCT = (
    "core",
    "events",
    "stores",
    "replicator",
    "snapshot",
    "api",
    "broker",
    "cli",
    "bench",
    "sdk/python/planb_sdk",
)

PERMISSIVE = re.compile(
    r"MIT(-0)?|BSD(-[23]-Clause)?|Apache(-| | License v?)2\.0|Apache Software License"
    r"|PSF-2\.0|Python Software Foundation License"
)
COPYLEFT_OF_FILES = re.compile(r"MPL-2\.0|Mozilla Public License 2\.0")
"""Binds who changes the package itself: fine for tools, and for nothing that is shipped but:"""
UNCHANGED = {"certifi"}
"""A list of certificates, shipped as it is."""
PARTS = {"hiredis", "botocore", "urllib3"}
"""Of redis and of boto3: where these have their parser, their errors and their connections."""
BROUGHT = {"greenlet"}
"""Imported by SQLAlchemy for us."""
UNUSED = {"cassandra-driver"}
"""acsylla does its work (docs/decisions/0016): it leaves with the next change of requirements.lock."""
SAID_ELSEWHERE = {"atheris": "Apache-2.0"}
"""Packages whose metadata is silent -> what the LICENSE of their repository says."""


def lock() -> dict[str, str]:
    """name -> its entry in requirements.lock."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    entries = re.findall(r"^\S.*(?:\n\s+.*)*", text, flags=re.MULTILINE)
    return {re.split(r"[=@; ]", entry)[0]: entry for entry in entries}


def test_every_version_is_pinned_with_its_hashes() -> None:
    assert len(lock()) > 40
    for name, entry in lock().items():
        assert re.match(r"[A-Za-z0-9._-]+==[^\s;]+ ", entry), f"{name} is not pinned: {entry[:80]}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{name} has no hash"
        assert "://" not in entry, f"{name} does not come from the package index"


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs/decisions/0001-dependencies.md").read_text()
    rows = re.findall(r"^\| ([\w, -]+) \|", page, flags=re.MULTILINE)
    told = {canonicalize_name(name.strip()) for row in rows for name in row.split(",")} - {"dependency"}
    extras = {canonicalize_name(extra) for one in RUN_TIME for extra in one.extras}
    assert told == {canonicalize_name(one.name) for one in (*RUN_TIME, *ENGINES, *DEVELOPMENT)} | extras


@cache
def imported() -> dict[str, str]:
    """The first part of every module that the product imports -> where, one place."""
    found: dict[str, str] = {}
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [one.name for one in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return found


def test_the_product_imports_what_it_names_and_names_what_it_imports() -> None:
    ours = {folder.rpartition("/")[2] for folder in PRODUCT}
    providers = packages_distributions()
    foreign = {name: place for name, place in imported().items() if name not in sys.stdlib_module_names | ours}
    named = {canonicalize_name(one.name) for one in (*RUN_TIME, *ENGINES)} | PARTS
    used = set()
    for name, place in foreign.items():
        of = {canonicalize_name(provider) for provider in providers.get(name, ())}
        assert of & named, f"{place} imports {name}, which pyproject.toml does not name"
        used |= of & named
    assert named - used == BROUGHT | UNUSED, "named, and imported nowhere"


def needed(requirements: list[Requirement]) -> set[str]:
    """The names of all that these bring, on this platform."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        one = waiting.pop()
        if canonicalize_name(one.name) in found and not one.extras:
            continue
        found.add(canonicalize_name(one.name))
        for brought in map(Requirement, distribution(one.name).requires or ()):
            marker = brought.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                waiting.append(brought)
    return found


def licence(package: Distribution) -> str:
    """What its metadata says, the most exact first."""
    about: Any = package.metadata
    stated = [about["License-Expression"], *(about.get_all("Classifier") or ()), about["License"]]
    stated = [one.removeprefix("License :: OSI Approved :: ") for one in stated if one and "UNKNOWN" not in one]
    named = [one for one in stated if PERMISSIVE.search(one) or COPYLEFT_OF_FILES.search(one)]
    return SAID_ELSEWHERE.get(canonicalize_name(about["Name"]), named[0] if named else "not said")


SHIPPED = needed([*RUN_TIME, *ENGINES])
INSTALLED = sorted(canonicalize_name(one.metadata["Name"]) for one in distributions())


@pytest.mark.parametrize("name", [name for name in INSTALLED if name in lock()])
def test_every_licence_is_one_that_we_may_use(name: str) -> None:
    said = licence(distribution(name))
    shipped = name in SHIPPED - UNCHANGED
    assert PERMISSIVE.search(said) or (not shipped and COPYLEFT_OF_FILES.search(said)), f"{name}: {said}"


def audit() -> Any:
    """`.ci/audit.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci/audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_audit_says_what_was_found_and_what_was_not_asked() -> None:
    mended = {"id": "PYSEC-1", "fix_versions": ["2"]}
    found = audit().verdict(
        "osv",
        {
            "dependencies": [
                {"name": "good", "version": "1", "vulns": []},
                {"name": "bad", "version": "1", "vulns": [mended]},
                {"name": "unknown", "skip_reason": "not there"},
            ]
        },
    )
    assert found.known and found.vulnerable
    assert found.lines == [
        "audit: bad 1: PYSEC-1, mended in 2",
        "audit: 2 packages checked at osv, 1 vulnerabilities known",
        "audit: NOT CHECKED at osv: unknown",
    ]


def test_a_service_that_knows_nothing_has_not_checked_anything() -> None:
    found = audit().verdict("pypi", {"dependencies": [{"name": "a", "skip_reason": "x"}]})
    assert not found.known and not found.vulnerable
    assert found.lines == ["audit: NOT CHECKED at pypi: it knows none of the 1 packages"]

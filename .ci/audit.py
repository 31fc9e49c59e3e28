"""Asks a vulnerability service about every version in requirements.lock: `make audit`.

Exit code 1 for a known vulnerability. Where no service is reached, or it knows nothing of a package, that is said in
the output, and the exit code is 0: a build does not depend on somebody else's server. pip-audit is installed beside
the project's environment, and only reads the lock.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

TOOL = "pip-audit==2.10.1"
SERVICES = ("osv", "pypi")
LOCK = Path(__file__).parents[1] / "requirements.lock"
ASK_S_MAX = 120


class Verdict(NamedTuple):
    known: bool
    """Whether the service said anything of any package."""
    vulnerable: bool
    lines: list[str]


def verdict(service: str, report: dict[str, Any]) -> Verdict:
    """What pip-audit's JSON says."""
    packages = report["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    asked = len(packages) - len(skipped)
    lines = [
        f"audit: {one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for one in packages
        for found in one.get("vulns", ())
    ]
    vulnerable = bool(lines)
    if not asked:
        lines.append(f"audit: NOT CHECKED at {service}: it knows none of the {len(packages)} packages")
    else:
        lines.append(f"audit: {asked} packages checked at {service}, {len(lines)} vulnerabilities known")
        if skipped:
            lines.append(f"audit: NOT CHECKED at {service}: {', '.join(skipped)}")
    return Verdict(asked > 0, vulnerable, lines)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="planb-audit-") as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        installed = _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL])
        if installed.returncode:
            print(f"audit: NOT CHECKED: {TOOL} can't be installed: {_last(installed.stderr)}")
            return 0
        for service in SERVICES:
            words = ["-m", "pip_audit", "--vulnerability-service", service, "--format", "json", "--disable-pip"]
            asked = _run([python, *words, "--no-deps", "--require-hashes", "--requirement", str(LOCK)])
            if not asked.stdout.strip():
                print(f"audit: NOT CHECKED at {service}: {_last(asked.stderr)}")
                continue
            found = verdict(service, json.loads(asked.stdout))
            print("\n".join(found.lines))
            if found.known:
                return int(found.vulnerable)
    print("audit: no vulnerability service was reached; the checks that need none are tests/docs/test_dependencies.py")
    return 0


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no word in {ASK_S_MAX} s")


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())

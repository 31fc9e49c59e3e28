"""The coverage-guided fuzzer of the decoders as a process of its own, and what it said."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

GUIDED = importlib.util.find_spec("atheris") is not None
"""Whether this platform has it (docs/decisions/0001-dependencies.md)."""


async def run(folder: Path, seconds: int, jobs: int, seed: int) -> dict[str, Any]:
    """Every target for so many seconds: target -> {"executed": inputs, "broken": what broke it or None}."""
    words = [str(folder), str(seconds), str(jobs), str(seed)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fuzz.guided", *words,
        cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    lines = out.decode().splitlines()
    assert lines, f"the fuzzer ended with {process.returncode}: {err.decode(errors='replace')[-2_000:]}"
    told: dict[str, Any] = json.loads(lines[-1])
    return told

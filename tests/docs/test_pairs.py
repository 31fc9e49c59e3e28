"""docs/pairs.md shows what happens now."""

import subprocess
import sys

from tests.support.markdown import ROOT


def test_the_page_of_pairs_is_up_to_date() -> None:
    # In a process of its own: whoever imported the simulation before has one action more.
    code = "import sys; from tests.pairs.page import page; sys.stdout.write(page())"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2_000:]
    assert (ROOT / "docs/pairs.md").read_text() == made.stdout, "run: python -m tests.pairs"

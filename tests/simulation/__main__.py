"""`python -m tests.simulation --seeds 200 --jobs 2`: histories from seeds; exit code 1 if an invariant broke.

--also 34,1076      these seeds too
--seed N            one history, replayed exactly and printed; a failing one is made smaller (--no-shrink: not)
--plant NAME        with a planted bug, until it is caught; `--plant all`; exit code 1 if one is not
--kinds a,b         only these faults
--cover             exit code 1 as well if a fault, crash point or action never came (of itself from 300 histories on)
--report FILE       writes the figures as JSON; with --plant, those of the bugs
--json              the outcome as one JSON object on the last line
"""

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":
    # The order of sets of strings is part of a history.
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
    )

from tests.simulation.command import main

sys.exit(main(sys.argv[1:]))

"""All planted bugs."""

from tests.simulation.bugs_of_reading import READING
from tests.simulation.bugs_of_writing import WRITING

BUGS = (*WRITING, *READING)
BY_NAME = {bug.name: bug for bug in BUGS}
assert len(BY_NAME) == len(BUGS)

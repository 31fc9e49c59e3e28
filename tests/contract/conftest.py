"""Which adapters a suite runs over. What needs a server that is not installed is skipped (with CI=true: it fails)."""

import pytest

from tests.support.stores import ADAPTERS, SERVED


@pytest.fixture(scope="module", params=(*ADAPTERS, "mysql"))
def adapter(request: pytest.FixtureRequest) -> str:
    """One of the relational adapters, for a suite that opens one at a time."""
    if request.param == "mysql":
        request.getfixturevalue("mysql_databases")
    return str(request.param)


@pytest.fixture(scope="module", params=(ADAPTERS, SERVED), ids="+".join)
def adapters(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Some of them, for properties that compare them."""
    if "mysql" in request.param:
        request.getfixturevalue("mysql_databases")
    return tuple(request.param)

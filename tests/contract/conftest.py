"""The contract suites run on every kind of server that the adapters are for."""

import pytest

from tests.support.valkey import KINDS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_program" in metafunc.fixturenames:
        metafunc.parametrize("server_program", KINDS, indirect=True, scope="module")

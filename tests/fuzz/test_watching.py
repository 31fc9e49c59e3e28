"""What the campaign reads in a datacenter's log."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api import refusal_log
from core import errors
from tests.fuzz import watching


def fails() -> None:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("of_request", [True, False])
def test_an_unexpected_error_is_found_with_its_end(tmp_path: Path, of_request: bool) -> None:
    written = logging.FileHandler(tmp_path / "serve.log")
    written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    refusal_log.log.addHandler(written)
    try:
        fails()
    except RuntimeError as error:
        if of_request:
            refusal_log.RefusalLog(lambda: 0.0).record(error, errors.PlanBError(), "1", "POST /v1/messages")
        else:
            refusal_log.log.exception("a beat failed")
    finally:
        refusal_log.log.removeHandler(written)
        written.close()
    (found,) = watching.failures(cast(Any, SimpleNamespace(home=tmp_path)))
    assert ("POST /v1/messages" if of_request else "a beat failed") in found
    assert "in fails" in found and found.endswith("RuntimeError: a defect")

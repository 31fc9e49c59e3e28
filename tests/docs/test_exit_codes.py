"""Exit codes are those of docs/errors.md, also where a datacenter refused what a command asked of it."""

import re

import pytest

from api import problems
from cli.main import EPILOG
from cli.sys_client import SysRefused
from core.errors import PlanBError
from tests.support.markdown import ROOT

EACH = pytest.mark.parametrize("error", list(problems.all_errors()), ids=lambda error: error.code)


@EACH
def test_what_a_datacenter_refuses_ends_a_command_with_its_exit_code(error: type[PlanBError]) -> None:
    assert SysRefused(error.status, {"code": error.code}).exit_code == error.exit_code


def test_an_unknown_code_is_an_internal_error() -> None:
    assert SysRefused(418, {"code": "teapot"}).exit_code == PlanBError.exit_code
    assert SysRefused(502, {}).exit_code == PlanBError.exit_code


@EACH
def test_the_page_for_operators_and_the_help_explain_every_exit_code(error: type[PlanBError]) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    listed = page.partition("## Exit codes")[2].partition("\n## ")[0]
    assert re.search(rf"^\| {error.exit_code} \|", listed, re.MULTILINE)
    assert re.search(rf"(?<!\d){error.exit_code} [a-z]", EPILOG)


def test_they_are_called_as_the_brackets_on_stderr_call_them() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    listed = page.partition("## Exit codes")[2].partition("\n## ")[0]
    codes = {error.code: error.exit_code for error in problems.all_errors()}
    named = [
        (code, int(number))
        for number, cell in re.findall(r"^\| (\d+) \| ([^|]*) \|", listed, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", cell)
    ]
    in_help = [(code, int(number)) for number, code in re.findall(r"(\d+) (\w+)", EPILOG) if number != "0"]
    for said in named, in_help:
        assert {number for _, number in said} == set(codes.values())
        assert all(codes[code] == number for code, number in said)

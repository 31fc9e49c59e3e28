"""What the docs show is run: curl calls against a datacenter in memory, Python against a real internal listener."""

import argparse
import ast
import asyncio
import re
import shlex
from string import Template
from typing import Any

import jwt
import pytest

import planb_sdk
from broker.frames import Close
from cli.main import parser
from core import limits
from core.action import registry
from planb_sdk import Client
from tests.support.api import api_dc
from tests.support.markdown import PAGES, ROOT, Place, blocks, spans
from tests.support.replicated import KEY, World
from tests.support.routes import ROUTES
from tests.support.shell import called

CLIENT_PROTOCOL = ROOT / "docs/client-protocol.md"
OPERATIONS = ROOT / "docs/operations.md"


def curl_arguments(words: list[str]) -> argparse.Namespace:
    curl = argparse.ArgumentParser(exit_on_error=False)
    curl.add_argument("url")
    curl.add_argument("-s", action="store_true")
    curl.add_argument("-X", dest="method")
    curl.add_argument("-H", dest="headers", action="append", default=[])
    curl.add_argument("-d", dest="data")
    return curl.parse_args(words)


async def test_the_first_calls_of_the_client_protocol_are_answered() -> None:
    (script,) = [block.text for block in blocks(CLIENT_PROTOCOL) if block.language == "sh"]
    settings, _, rest = script.partition("\n")
    named = {word.partition("=")[0] for word in shlex.split(settings)}
    async with api_dc() as api:
        await api.sign_up("Uyou")
        you = api.user("Uyou")
        root = str(api.http.make_url("")).rstrip("/")
        variables = {"AUTH": f"Authorization: Bearer {you.token}", **dict.fromkeys(named, root)}
        calls = [curl_arguments(words) for words in called(Template(rest).substitute(variables), "curl")]
        assert len(calls) > 5
        for one in calls:
            headers = dict(header.split(": ", 1) for header in one.headers)
            method = one.method or ("POST" if one.data else "GET")
            async with api.http.session.request(method, one.url, headers=headers, data=one.data) as answer:
                found = await answer.json()
                assert answer.status == 200, (one, found)
        assert found["reset"] is True
        notes = await you.ok("GET", "/v1/dialogs/Uyou/messages")
        assert [message["text"] for message in notes["messages"]] == ["note to self"]


async def test_the_first_calls_of_an_operator_need_no_signature() -> None:
    urls = [words[-1] for block in blocks(OPERATIONS) for words in called(block.text, "curl")]
    assert {url.rpartition("/")[2] for url in urls} == {"readyz", "metrics"}
    async with api_dc() as api:
        for url in urls:
            async with api.http.session.get(api.http.make_url("/" + url.rpartition("/")[2])) as answer:
                assert answer.status == 200


async def test_the_example_of_the_customers_own_system_makes_a_user_and_a_token() -> None:
    (code,) = [block for block in blocks(ROOT / "docs/accounts.md") if block.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(code.text, code.where, "exec"), names)
    async with World("fra") as world:
        base = f"http://127.0.0.1:{world['fra'].port}"
        token = await asyncio.to_thread(names["sign_up"], base, "fra", KEY)
        session = jwt.decode(token, options={"verify_signature": False})["sid"]
        user = await world["fra"].one.view.user("Uada")
        assert user is not None and user.name == "Ada" and user.password.startswith("$argon2id$")
        again = await asyncio.to_thread(names["sign_up"], base, "fra", KEY)
        same = jwt.decode(again, options={"verify_signature": False})["sid"]
        assert same == session, "the same intention, the same session"


# -- tables that repeat what the code says


def test_the_page_on_accounts_tells_the_bounds_of_logins() -> None:
    text = (ROOT / "docs/accounts.md").read_text()
    assert f"| one user | {limits.LOGINS_FAILED_OF_USER} | one every {limits.LOGIN_USER_REFILL_S} s |" in text
    assert f"| one address | {limits.LOGINS_FAILED_OF_ADDRESS} | one every {limits.LOGIN_ADDRESS_REFILL_S} s |" in text
    assert f"{limits.PASSWORD_WAITING_OF_ADDRESS_MAX} logins from one address" in text
    assert f"and {limits.PASSWORD_WAITING_MAX} in all" in text


def test_the_page_on_the_websocket_tells_when_a_reader_is_slow() -> None:
    text = (ROOT / "docs/websocket.md").read_text()
    assert f"{limits.CONNECTION_QUEUE_MAX:,} updates or {limits.CONNECTION_QUEUE_BYTES_MAX >> 20} MiB waited" in text
    assert f"or {limits.STREAMS_BYTES_MAX >> 20} MiB for all" in text


def calls_in_first_column(page_text: str) -> set[tuple[str, str]]:
    return {
        (method, path.partition("?")[0])
        for line in page_text.splitlines()
        if line.startswith("| `")
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`]*)`", line.split("|")[1])
    }


def test_the_client_protocol_lists_every_public_call_that_is_no_action() -> None:
    actions = {(action.route.method, action.route.path) for action in registry().values()}
    public = {(method, path) for method, path in ROUTES - actions if path.startswith("/v1/")}
    listed = calls_in_first_column(CLIENT_PROTOCOL.read_text())
    assert public <= listed
    assert listed <= public | actions


def test_the_page_on_replication_lists_every_internal_call() -> None:
    internal = {(method, path) for method, path in ROUTES if path.startswith("/sys/v1/")}
    text = (ROOT / "docs/replication.md").read_text()
    spoken = {(method, path.partition("?")[0]) for method, path in re.findall(r"`(GET|POST|PUT) (/sys[^`]*)`", text)}
    assert internal <= spoken | {("POST", "/sys/v1/parked/retry")}
    assert "`POST /sys/v1/parked/retry`" in text


def bounds() -> list[Any]:
    """`NAME` (number …): a bound that a page gives with its value."""
    found = []
    for page in PAGES:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for name, value, unit in re.findall(r"`([A-Z][A-Z_]+[A-Z])`(?: of)? \(([\d,]+)( MiB| KiB)?", line):
                place = Place(page, number, name)
                found.append(pytest.param(name, value, unit, id=f"{place.where} {name}"))
    return found


@pytest.mark.parametrize(("name", "value", "unit"), bounds())
def test_a_bound_has_the_value_that_a_page_gives(name: str, value: str, unit: str) -> None:
    scale = {" MiB": 1 << 20, " KiB": 1 << 10}.get(unit, 1)
    assert getattr(limits, name) == int(value.replace(",", "")) * scale


def named_bounds() -> list[Any]:
    return [
        pytest.param(span.text, id=f"{span.where} {span.text}")
        for page in PAGES
        for span in spans(page)
        if re.fullmatch(r"[A-Z][A-Z_]+_(MAX|MIN|MS|S|KEPT|FIRST|ROWS|MEAN|BYTES)", span.text)
    ]


@pytest.mark.parametrize("name", named_bounds())
def test_a_bound_that_a_page_names_exists(name: str) -> None:
    assert hasattr(limits, name)


def test_the_bounds_that_the_client_protocol_tells_are_those_of_the_code() -> None:
    text = CLIENT_PROTOCOL.read_text()
    assert f"1 to {limits.KEY_CHARS_MAX} visible ASCII" in text
    assert f"at most {limits.MESSAGE_BYTES_MAX:,} bytes of UTF-8" in text
    assert f"takes up to {limits.BATCH_MESSAGES_MAX} messages" in text
    assert f"| {limits.BODY_BYTES_MAX:,} |" in text
    assert f"| {limits.REQUEST_BYTES_MAX:,} |" in text
    assert f"| {limits.ANONYMOUS_BYTES_MAX:,} |" in text
    assert f"bodies of {limits.BODIES_BYTES_MAX >> 20} MiB" in text
    assert f"{limits.BODIES_BYTES_OF_ONE_MAX >> 20} MiB of one user" in text
    for bound in (
        f"{limits.HEAD_WAIT_S_MAX} s to its first",
        f"{limits.KEEP_ALIVE_S} s from one answer",
        f"{limits.BODY_WAIT_MS_MAX // 1000} s. One",
        f"for {limits.TAKE_WAIT_S_MAX} s is cut",
        f"{limits.HTTP_CONNECTIONS_MAX:,} connections, {limits.CONNECTIONS_MAX:,} of them",
    ):
        assert bound in text.replace("\n", " "), bound
    assert f"at most {limits.FIELDS_MAX} fields and {limits.JSON_VALUES_MAX:,} values" in text
    assert f"at most {limits.ERRORS_LISTED_MAX} of them" in text
    assert f"nested at most {limits.JSON_DEPTH_MAX} deep" in text
    assert f"for {limits.RESULT_KEPT_S // 3600} h" in text
    assert f"After {limits.RESULTS_OF_USER_MAX:,} later writes" in text
    assert f"written {limits.RESULTS_OF_USER_MAX:,} times more" in (ROOT / "docs/semantics.md").read_text()
    assert f"within {limits.DURABILITY_WAIT_MS_MAX // 1000} s" in text


def test_the_sdks_page_names_methods_that_there_are() -> None:
    readme = ROOT / "sdk/python/README.md"
    table = readme.read_text().partition("## Calls")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(?:Client\.)?([a-z_]+)\(", table))
    assert len(named) > 20
    assert not {name for name in named if not hasattr(Client, name)}
    public = {name for name in vars(Client) if not name.startswith("_")}
    assert public <= set(re.findall(r"[`.]([a-z_]+)[(`]", table))


def test_the_sdks_page_names_everything_that_the_package_offers() -> None:
    text = (ROOT / "sdk/python/README.md").read_text()
    assert not {name for name in planb_sdk.__all__ if not re.search(rf"`[^`]*\b{name}\b[^`]*`", text)}


def test_the_page_of_the_demo_explains_every_member_of_its_answer() -> None:
    """Those of the dictionary that `Story._result` returns."""
    (function,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "cli/story.py").read_text()))
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "_result"
    ]
    (answer,) = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    assert isinstance(answer, ast.Dict)
    members = {key.value for key in answer.keys if isinstance(key, ast.Constant)}
    table = (ROOT / "docs/demo.md").read_text().partition("| member |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    explained = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert members == explained


def test_the_page_of_the_demo_explains_every_option() -> None:
    options = {flag for action in _options("demo") for flag in action.option_strings} - {"-h", "--help"}
    table = (ROOT / "docs/demo.md").read_text().partition("| option |")[2].partition("\n\n")[0]
    assert options == set(re.findall(r"^\| `(--[a-z]+)", table, re.MULTILINE))


def _options(command: str) -> list[argparse.Action]:
    (commands,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return list(commands.choices[command]._actions)


def test_the_stream_s_page_tells_its_bounds_and_close_codes() -> None:
    text = (ROOT / "docs/websocket.md").read_text()
    assert (
        f"{limits.STREAM_CLIENT_FRAMES_MAX} frames at once, then {limits.STREAM_CLIENT_FRAMES_PER_S} a second" in text
    )
    assert f"{limits.STREAM_CLIENT_BYTES_MAX:,} bytes at once, then {limits.STREAM_CLIENT_BYTES_PER_S} a second" in text
    assert f"{limits.STREAMS_OF_SESSION_MAX} streams in a process, a user {limits.STREAMS_OF_USER_MAX}" in text
    told = {int(code) for code in re.findall(r"^\| (\d{4}) \|", text.partition("## Close codes")[2], re.M)}
    assert told == {int(code) for code in Close}

"""planb.js, its types and the Python SDK have the same names: what one can do, the other can, and says so."""

import dataclasses
import inspect
import re

import planb_sdk
from planb_sdk import Client, Options, State, Stats, doubles
from tests.support.markdown import ROOT

JS = ROOT / "sdk/js"
SOURCE, TYPES = (JS / "planb.js").read_text(), (JS / "planb.d.ts").read_text()
SOURCE_OPTIONS = SOURCE.split("export const OPTIONS")[1].split("\n});")[0]
EXPORT = re.compile(r"^export (?:class|const|function) (\w+)", re.M)
MEMBER = re.compile(r"^  (?:static |async |readonly |get |\*)*(\w+)(?=[(:])", re.M)


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(map(str.title, rest))


def body(text: str, name: str) -> str:
    """Of a class or an interface or a literal."""
    found = re.search(rf"^export (?:class|interface|const) {name}\b[^\n]*\{{\n(.*?)^\}}", text, re.M | re.S)
    assert found is not None, name
    return found[1]


def js_members(text: str, name: str) -> set[str]:
    return set(MEMBER.findall(body(text, name))) - {"constructor"}


def public(members: list[tuple[str, object]]) -> set[str]:
    return {name for name, _ in members if not name.startswith("_")}


def test_what_the_module_exports_has_a_type_and_the_other_way_round() -> None:
    assert len(EXPORT.findall(SOURCE)) >= 10
    assert set(EXPORT.findall(SOURCE)) == set(EXPORT.findall(TYPES))


def test_errors_are_those_of_the_python_sdk() -> None:
    errors = {name for name, one in vars(planb_sdk).items() if inspect.isclass(one) and issubclass(one, Exception)}
    assert errors == set(EXPORT.findall(SOURCE)) - {"Client", "State", "OPTIONS"}


def test_every_method_of_the_client_has_a_type_and_a_twin_in_python() -> None:
    typed = js_members(TYPES, "Client")
    fields = set(re.findall(r"^    this\.(options|stats|user|state) = ", body(SOURCE, "Client"), re.M))
    assert js_members(SOURCE, "Client") | fields == typed
    ours = public(inspect.getmembers(Client)) | {"options", "stats", "user", "state"}
    assert {camel(name) for name in ours} == typed


def test_the_state_and_what_is_counted_are_the_same() -> None:
    state = {field.name for field in dataclasses.fields(State)}
    assert {camel(name) for name in state} <= js_members(TYPES, "State")
    counted = {field.name for field in dataclasses.fields(Stats)}
    told = re.search(r"export type Stats = Record<(.*?),\n  number", TYPES, re.S)
    assert told is not None and set(re.findall(r'"(\w+)"', told[1])) == counted
    kept = re.search(r"^const STATS = \{(.*?)\}", SOURCE, re.M | re.S)
    assert kept is not None and set(re.findall(r"(\w+):", kept[1])) == counted


def test_what_updates_show_is_told_apart_by_the_same() -> None:
    asked = re.findall(r"kind (?:==|in) (.*):", inspect.getsource(doubles.about))
    kinds = {kind for one in asked for kind in re.findall(r'"(\w+)"', one)}
    names = re.search(r"const names = \{\n(.*?)\n  \};", SOURCE, re.S)
    assert names is not None and {"message", *re.findall(r"^    (\w+):", names[1], re.M)} == kinds


def test_bounds_and_pauses_are_those_of_the_python_sdk() -> None:
    told = dict(re.findall(r"^  (\w+): ([\d._]+|true)", SOURCE_OPTIONS, re.M))
    for field in dataclasses.fields(Options):
        value = field.default
        if field.name == "connections_max":  # a browser has its own
            continue
        name = re.sub("_s$", "_ms", field.name)
        assert camel(name) in told, name
        wanted = value * 1000 if name != field.name else value
        assert (told[camel(name)] == "true") if value is True else (float(told[camel(name)]) == wanted), name
    assert set(told) | {"WebSocket", "log"} == js_members(TYPES, "Options")


def test_the_page_names_everything_that_the_client_has_and_nothing_else() -> None:
    text = (JS / "README.md").read_text()
    table = text.partition("## Calls")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(?:Client\.)?([a-z]\w+)(?:\([^`]*\))?`", table))
    assert js_members(TYPES, "Client") - {"options", "user"} <= named
    assert set(re.findall(r"`(?:Client\.)?([a-z]\w+)\(", table)) <= js_members(TYPES, "Client")
    errors = text.partition("## What goes wrong")[2]
    assert set(EXPORT.findall(SOURCE)) - {"Client", "State"} <= set(re.findall(r"`(\w+)", errors))

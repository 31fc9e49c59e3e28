"""The description of the API: valid, whole, and made of what the code says."""

import base64
import hashlib
import itertools
from html.parser import HTMLParser
from typing import Any

import jsonschema
import msgspec
import pydantic
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api import answers, schemas
from api.answer_examples import EXAMPLES
from api.answers import Answer
from api.docs_page import POLICY, page
from api.problems import all_errors
from api.semantics_table import _events
from core.action import Action, registry
from tests.support.routes import DOCUMENT, PUBLIC

Json = dict[str, Any]


def operations(document: Json) -> list[tuple[str, str, Json]]:
    return [(method, path, one) for path, group in document["paths"].items() for method, one in group.items()]


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_document_that_is_served_has_every_route_and_no_other() -> None:
    assert {(method.upper(), path) for method, path, _ in operations(DOCUMENT)} == PUBLIC


def test_every_operation_has_a_name_of_its_own_a_known_tag_and_says_how_it_stays_consistent() -> None:
    found = operations(DOCUMENT)
    names = [one["operationId"] for _, _, one in found]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for _, path, one in found:
        assert set(one["tags"]) <= tags and one["summary"]
        assert "x-consistency" in one or not path.startswith("/v1/"), path


def test_every_answer_is_typed() -> None:
    for method, path, one in operations(DOCUMENT):
        for status, response in one["responses"].items():
            for content in response.get("content", {}).values():
                schema = content["schema"]
                assert (
                    "$ref" in schema
                    or "anyOf" in schema
                    or "allOf" in schema
                    or schema.get("properties")
                    or schema.get("format") == "binary"
                    or (not path.startswith("/v1/"))
                ), (method, path, status)


def test_every_code_of_an_error_is_one_that_there_is() -> None:
    known = {error.code for error in all_errors()}
    for _, path, one in operations(DOCUMENT):
        codes = [code for response in one["responses"].values() for code in response.get("x-codes", ())]
        assert set(codes) <= known and (codes or not path.startswith("/v1/"))


def test_a_cursor_is_offered_in_the_header_only_where_it_changes_the_answer() -> None:
    offered = {
        one["operationId"]
        for _, _, one in operations(DOCUMENT)
        if {"$ref": "#/components/parameters/XCursor"} in one.get("parameters", ())
    }
    assert "updates.list" not in offered and "state.get" not in offered and "login" not in offered
    assert {"messages.list", "message.send", "dialog.read", "chat.get"} <= offered


def test_every_example_is_what_its_schema_says() -> None:
    checked = 0
    for method, path, one in operations(DOCUMENT):
        places = [*one["responses"].values(), *([one["requestBody"]] if "requestBody" in one else [])]
        for content in itertools.chain.from_iterable(place.get("content", {}).values() for place in places):
            given = [content["example"]] if "example" in content else []
            given += [example["value"] for example in content.get("examples", {}).values()]
            for example in given:
                rooted = content["schema"] | {"components": DOCUMENT["components"]}
                error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(rooted).iter_errors(example))
                assert error is None, (method, path, error)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_every_example_of_an_answer_has_every_member_that_is_always_there(model: type[Answer]) -> None:
    model.model_validate_json(pydantic.TypeAdapter(Any).dump_json(EXAMPLES[model]))


def test_every_answer_has_an_example() -> None:
    for method, path, one in operations(DOCUMENT):
        for status, response in one["responses"].items():
            for kind, content in response.get("content", {}).items():
                assert kind == "application/octet-stream" or "example" in content or not path.startswith("/v1/"), (
                    method,
                    path,
                    status,
                )


@pytest.mark.parametrize("action", registry().values(), ids=lambda action: action.name)
def test_a_write_answers_the_members_that_it_names(action: type[Action]) -> None:
    for event in _events(action):
        assert set(action.result(event)) == set(action.answer)
    assert issubclass(schemas.written(action), answers.Written)


class Shown(HTMLParser):
    """What a reader of the page sees, by the foldable part that it is in; and what the page points at."""

    def __init__(self) -> None:
        super().__init__()
        self.text: dict[str, str] = {}
        self.examples: dict[str, list[str]] = {}
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._part = ""
        self._example = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links += [given["href"] or ""] if "href" in given else []
        self._part = str(given["id"]) if tag == "details" else self._part
        self._example = tag == "pre"
        if tag == "pre":
            self.examples.setdefault(self._part, []).append("")
        assert not {name for name, _ in attrs if name.startswith("on") or name in ("src", "style")}, attrs

    def handle_data(self, data: str) -> None:
        self.text[self._part] = self.text.get(self._part, "") + data
        if self._example:
            self.examples[self._part][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._example = self._example and tag != "pre"
        self._part = "" if tag == "details" else self._part


@pytest.fixture(scope="module")
def shown() -> Shown:
    found = Shown()
    found.feed(page(DOCUMENT))
    return found


def test_the_page_needs_no_other_file_and_every_link_on_it_leads_somewhere(shown: Shown) -> None:
    assert not shown.tags & {"script", "link", "img", "iframe", "form", "base"}
    assert "http://" not in page(DOCUMENT) and "https://" not in page(DOCUMENT)
    broken = {link for link in shown.links if link.removeprefix("#") not in shown.ids} - {"/openapi.json"}
    assert not broken


def test_the_page_may_load_nothing_but_its_own_style() -> None:
    style = page(DOCUMENT).split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert POLICY.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]


def members(schema: Any) -> list[str]:
    """All that stand in it, however deep, but in what it refers to."""
    if isinstance(schema, list):
        return [name for one in schema for name in members(one)]
    if not isinstance(schema, dict):
        return []
    inner = [*schema.get("properties", {}).values(), *(schema.get(part) for part in ("items", "anyOf", "oneOf"))]
    return [*schema.get("properties", {}), *(name for one in inner for name in members(one))]


def test_the_page_shows_every_route_with_all_that_it_takes_and_answers(shown: Shown) -> None:
    for method, path, one in operations(DOCUMENT):
        text = shown.text[one["operationId"]]
        expected = [method.upper(), path, one["summary"].replace("`", "")]
        for given in one.get("parameters", ()):
            name = given.get("$ref", "").rpartition("/")[2]
            expected.append((DOCUMENT["components"]["parameters"][name] if name else given)["name"])
        for content in one.get("requestBody", {}).get("content", {}).values():
            expected += members(content["schema"])
        for status, response in one["responses"].items():
            expected += [status, *response.get("x-codes", ())]
        expected += [note.replace("`", "") for note in one.get("x-consistency", {}).values()]
        assert not [part for part in expected if part not in text], one["operationId"]


def test_the_page_shows_every_example_but_those_of_errors(shown: Shown) -> None:
    number = 0
    for _, _, one in operations(DOCUMENT):
        places = [response for status, response in one["responses"].items() if int(status) < 400]
        for place in (*places, one.get("requestBody", {})):
            for content in place.get("content", {}).values():
                wanted = [content["example"]] if "example" in content else []
                wanted += [example["value"] for example in content.get("examples", {}).values()]
                there = [msgspec.json.decode(text) for text in shown.examples.get(one["operationId"], ())]
                assert not [example for example in wanted if example not in there], one["operationId"]
                number += len(wanted)
    assert number > 50


def test_the_page_shows_every_schema_with_all_its_members(shown: Shown) -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        text = shown.text[f"schema-{name}"]
        assert not [member for member in members(schema) if member not in text], name
        for inner in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
            assert inner.get("$ref", "").rpartition("/")[2] in text, name
        assert text.strip() != name, f"{name} is shown empty"

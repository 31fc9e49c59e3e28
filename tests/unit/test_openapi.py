"""The description of the API: valid, whole, and made of what the code says."""

import itertools
from typing import Any

import jsonschema
import pydantic
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api import answers, schemas
from api.answer_examples import EXAMPLES
from api.answers import Answer
from api.docs_page import page
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
            for content in response.get("content", {}).values():
                assert "example" in content or not path.startswith("/v1/"), (method, path, status)


@pytest.mark.parametrize("action", registry().values(), ids=lambda action: action.name)
def test_a_write_answers_the_members_that_it_names(action: type[Action]) -> None:
    for event in _events(action):
        assert set(action.result(event)) == set(action.answer)
    assert issubclass(schemas.written(action), answers.Written)


def test_the_page_shows_every_operation_and_needs_no_other_file() -> None:
    html = page(DOCUMENT)
    for _, _, one in operations(DOCUMENT):
        assert f'<details id="{one["operationId"]}">' in html
    assert "<script" not in html and "http://" not in html and "https://" not in html

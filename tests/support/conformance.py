"""Holds real answers against the description of the API (`GET /openapi.json`), more strictly than a client may.

A client accepts members that it does not know; here one that the description lacks is a defect, so objects with
declared members are closed. Failures name the operation and the place in the answer.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

import jsonschema

Json = dict[str, Any]


class Conformance:
    def __init__(self, document: Json) -> None:
        self.operations: list[tuple[str, re.Pattern[str], str, Json]] = []
        """Method, pattern of the path, template, operation."""
        self.seen: set[tuple[str, str]] = set()
        """(operationId, status) of all that was checked."""
        self._validators: dict[Any, jsonschema.Draft202012Validator] = {}
        self._document = copy.deepcopy(document)
        for path in sorted(self._document["paths"], key=lambda path: path.count("{")):
            pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
            for method, operation in self._document["paths"][path].items():
                self.operations.append((method.upper(), pattern, path, operation))
        for schema in self._document["components"]["schemas"].values():
            _close(schema)
        self._parameters = self._document["components"]["parameters"]

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: Any) -> None:
        """AssertionError where an answer is not as it is described. Paths that are not described are left alone:
        they are answered 404 or 405."""
        operation = self.of(method, path.partition("?")[0])
        if operation is None:
            assert status in (403, 404, 405), f"{method} {path} is not described, and answered {status}"
            return
        name = operation["operationId"]
        response = operation["responses"].get(str(status))
        assert response is not None, f"{name} answered {status}, which is not described: {body}"
        self.seen.add((name, str(status)))
        for header, place in response.get("headers", {}).items():
            described = self._resolved(place)
            given = headers.get(header)
            assert given is not None or not described["required"], f"{name} {status} lacks the header {header}"
            if given is not None:
                integer = described["schema"]["type"] == "integer"
                self._valid(("header", header), described["schema"], int(given) if integer else given, name)
        kind = headers.get("Content-Type", "").partition(";")[0]
        content = response.get("content", {}).get(kind)
        assert content is not None or not response.get("content"), f"{name} {status} answered {kind}"
        if content is not None and kind.endswith("json"):
            self._valid((name, status), content["schema"], body, f"{name} {status}")

    def of(self, method: str, path: str) -> Json | None:
        """The operation of a request."""
        return next(
            (one for verb, pattern, _, one in self.operations if verb == method and pattern.fullmatch(path)), None
        )

    def valid(self, schema: str, body: Any) -> None:
        """AssertionError unless `body` is as this component says."""
        self._valid(schema, {"$ref": f"#/components/schemas/{schema}"}, body, schema)

    def _resolved(self, place: Json) -> Json:
        if "$ref" not in place:
            return place
        found: Any = self._document
        for part in place["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        resolved: Json = found
        return resolved

    def _valid(self, key: Any, schema: Json, body: Any, where: str) -> None:
        validator = self._validators.get(key)
        if validator is None:
            rooted = {**schema, "components": self._document["components"]}
            validator = self._validators[key] = jsonschema.Draft202012Validator(rooted)
        error = jsonschema.exceptions.best_match(validator.iter_errors(body))
        assert error is None, f"{where}: {error.json_path}: {error.message}\n{body}"


def _close(schema: Any) -> None:
    """Nothing but declared members, unless the schema says what others are."""
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _close(value)

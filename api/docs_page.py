"""`/openapi.json` and `/docs`: the description for programs, and for people a page that needs no other file.

It has no script: what is long is folded by the browser. It may load nothing, and be framed by nobody (`POLICY`).
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import msgspec
from aiohttp import web

from api.docs_schemas import kind, members, prose, section
from api.operations import Other
from api.schemas import Schema
from core.errors import ForbiddenHeader

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;padding:1.5em;max-width:62em}
code,pre,.path{font-family:ui-monospace,monospace;font-size:.93em}
h2{margin:2em 0 .4em;text-transform:capitalize} h2 small{font-size:.6em;font-weight:400;text-transform:none;opacity:.75}
h4{margin:1.2em 0 .3em}
nav a{margin-right:1em;white-space:nowrap}
details{border:1px solid var(--line);border-radius:6px;margin:.4em 0;padding:0 .8em}
summary{padding:.5em 0;cursor:pointer;display:flex;gap:.8em;align-items:baseline;flex-wrap:wrap}
.verb{flex:0 0 4.4em;font-weight:700}.path{flex:0 1 22em;overflow-wrap:anywhere}.what{flex:1 1 16em}
table{border-collapse:collapse;width:100%}td,th{border-top:1px solid var(--line);padding:.35em .7em .35em 0;
text-align:left;vertical-align:top}td:first-child{white-space:nowrap}
pre{background:var(--soft);padding:.7em;border-radius:6px;overflow:auto;margin:.3em 0}
"""


_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style, and nothing else."""


def page(openapi: Mapping[str, Any]) -> str:
    """All operations by tag, each with its parameters, bodies, answers and errors; then all schemas."""
    by_tag: dict[str, list[str]] = {tag["name"]: [] for tag in openapi["tags"]}
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            by_tag[operation["tags"][0]].append(_operation(openapi, method, path, operation))
    about = {tag["name"]: tag["description"] for tag in openapi["tags"]}
    links = "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in by_tag)
    sections = "".join(
        f'<h2 id="{escape(tag)}">{escape(tag)} <small>{escape(about[tag])}</small></h2>{"".join(rows)}'
        for tag, rows in by_tag.items()
    )
    server = escape(openapi["servers"][0]["description"])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Plan B API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>Plan B API</h1><p>{prose(openapi['info']['description'])}</p>"
        f'<p>{server}. For programs: <a href="/openapi.json">/openapi.json</a>.</p><nav>{links}'
        f'<a href="#schemas">schemas</a></nav>'
        f'{sections}<h2 id="schemas">schemas</h2>{section(openapi["components"]["schemas"])}</html>'
    )


def _operation(openapi: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [prose(note, "p") for note in operation.get("x-consistency", {}).values()]
    parts += [f"<p>{_DURABLE[one]}</p>" for one in sorted(set(operation.get("x-durability", {}).values()))]
    parts += ["<p>Needs no token.</p>"] if operation.get("security") == [] else []
    parts += [prose(operation["description"], "p")] if "description" in operation else []
    parts.append(_parameters(openapi, operation))
    if "requestBody" in operation:
        parts += ["<h4>Body</h4>"]
        for media, content in operation["requestBody"]["content"].items():
            of_json = media == "application/json"
            shape = members(content["schema"]) if of_json else prose(operation["requestBody"]["description"], "p")
            parts += [shape, *_examples(content)]
    errors = []
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            errors.append(f"<tr><td>{status}<td>{prose(response['description'])}")
            continue
        parts.append(f"<h4>Answer <code>{status}</code></h4>")
        for content in response.get("content", {}).values():
            parts += [f"<p>{kind(content['schema'])}</p>", *_examples(content)]
        parts.append(_headers(openapi, response))
    parts.append(f"<h4>Errors</h4><table>{''.join(errors)}</table>" if errors else "")
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="verb">{method.upper()}</span>'
        f'<span class="path">{escape(path)}</span><span class="what">{escape(operation["summary"])}</span></summary>'
        f"{''.join(parts)}</details>"
    )


_DURABLE = {
    "local": "Answered when it is durable in this datacenter, unless <code>Prefer</code> says otherwise.",
    "remote": "Answered when another datacenter holds it durably, if one is reachable.",
}


def _headers(openapi: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    rows = []
    for name, given in response.get("headers", {}).items():
        one = openapi["components"]["headers"][given["$ref"].rpartition("/")[2]]
        rows.append(f"<tr><td><code>{escape(name)}</code><td>{prose(one['description'])}")
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _parameters(openapi: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    rows = []
    for given in operation.get("parameters", ()):
        name = given.get("$ref", "").rpartition("/")[2]
        one = openapi["components"]["parameters"][name] if name else given
        text = one.get("description") or one["schema"].get("description", "")
        values = ", ".join(f"`{value}`" for value in one["schema"].get("enum", ()))
        where = f"{one['in']}{', required' if one['required'] and one['in'] != 'path' else ''}"
        shown = " ".join(part for part in (text, values) if part)
        rows.append(f"<tr><td><code>{escape(one['name'])}</code><td>{where}<td>{prose(shown)}")
    return f"<h4>Parameters</h4><table>{''.join(rows)}</table>" if rows else ""


def _examples(content: Mapping[str, Any]) -> list[str]:
    found = [one["value"] for one in content.get("examples", {}).values()]
    found += [content["example"]] if "example" in content else []
    return [f"<pre>{escape(msgspec.json.format(msgspec.json.encode(one), indent=2).decode())}</pre>" for one in found]


def others() -> list[Other]:
    """The two calls themselves."""

    def other(name: str, path: str, summary: str, kind: str, schema: Schema) -> Other:
        answer = {"description": "The document", "content": {kind: {"schema": schema}}}
        operation = {"operationId": name, "summary": summary, "tags": ["operation"], "security": []}
        return Other("GET", path, operation | {"responses": {"200": answer}}, (ForbiddenHeader,))

    return [
        other("openapi", "/openapi.json", "This document", "application/json", {"type": "object"}),
        other("docs", "/docs", "The same as a page", "text/html", {"type": "string"}),
    ]


def add_routes(app: web.Application, describe: Callable[[], Mapping[str, Any]]) -> None:
    """Serves the document, encoded once, and the page; both are made when somebody asks first."""
    made: dict[str, bytes] = {}

    def encoded() -> Mapping[str, bytes]:
        if not made:
            document = describe()
            made["json"], made["html"] = msgspec.json.encode(document), page(document).encode()
        return made

    async def json(_: web.Request) -> web.Response:
        return web.Response(body=encoded()["json"], content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return web.Response(body=encoded()["html"], content_type="text/html", charset="utf-8", headers=headers)

    app.router.add_get("/openapi.json", json)
    app.router.add_get("/docs", docs)

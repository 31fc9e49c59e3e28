"""What a newcomer can try on a running demo: lines to paste into another terminal, each of which works as it stands."""

import json
import shlex
from collections.abc import Mapping
from typing import NamedTuple

PLANB = ".venv/bin/planb"
DEVICE = "curl"
CURL = "curl -w '\\n'"
"""An answer has no line feed at its end: the next prompt would stand behind it."""


class Hint(NamedTuple):
    """One thing to try."""

    what: str
    run: tuple[str, ...]
    """Lines of shell."""


class Person(NamedTuple):
    """Whom the newcomer plays."""

    user: str
    password: str
    token: str
    chat: str
    """A chat that he is in."""
    title: str
    friend: str
    """Another user."""


def variables(urls: Mapping[str, str], person: Person) -> list[str]:
    """Lines that set what the hints use."""
    return [
        *(f"export {_variable(name)}={url}" for name, url in urls.items()),
        f"export CHAT={person.chat} JSON='Content-Type: application/json'",
        f"export PLANB_TOKEN={person.token}",
        'export AUTH="Authorization: Bearer $PLANB_TOKEN"',
    ]


def hints(names: tuple[str, ...], person: Person, demo: int) -> list[Hint]:
    """In an order in which they make a story. `names`: the datacenters; `demo`: its process."""
    first, last = names[0], names[-1]
    here, there = f"${_variable(first)}", f"${_variable(last)}"
    post = f'{CURL} -H "$AUTH" -H "$JSON"'
    hello = f"""-d '{{"to": "'$CHAT'", "text": "hello from {first}"}}' {here}/v1/messages"""
    login = shlex.quote(json.dumps({"user": person.user, "password": person.password, "device": DEVICE}))
    lunch = shlex.quote(json.dumps({"kind": "group", "title": "Lunch", "users": [person.friend]}))
    ask = """sed 's/.*"id": *"\\([0-9]*\\)".*/\\1/\'"""
    return [
        Hint("who you are", (f'{CURL} -H "$AUTH" {here}/v1/me',)),
        Hint("log in with your password: one more session, one more token", (
            f'{CURL} -H "$JSON" -d {login} {here}/v1/login',
        )),
        Hint(f"say something in {first}, read it in {last}", (
            f"{post} {hello}",
            f'{CURL} -H "$AUTH" "{there}/v1/dialogs/$CHAT/messages?limit=2"',
        )),
        Hint("edit a message, react to it, recall it", (
            f"MSG=$({post} -s {hello} | {ask}); echo $MSG",
            f"""{post} -X PATCH -d '{{"text": "hello, edited"}}' {here}/v1/messages/$MSG""",
            f'{CURL} -H "$AUTH" -X PUT {here}/v1/messages/$MSG/reactions/%F0%9F%91%8D',
            f'{CURL} -H "$AUTH" -X DELETE "{here}/v1/messages/$MSG?for=all"',
        )),
        Hint("your dialogs, a new group, and a cursor to ask for updates with", (
            f'{CURL} -H "$AUTH" "{here}/v1/dialogs?limit=3"',
            f"{post} -d {lunch} {here}/v1/chats",
            f'{CURL} -H "$AUTH" -X POST {there}/v1/updates',
        )),
        Hint(f"the websocket: what {last} pushes to you (Ctrl-C ends it; try it while a link is cut)", (
            f"{PLANB} watch {there}",
        )),
        Hint(f"the API, also as a page: {here}/docs in a browser", (f"{CURL} {here}/openapi.json",)),
        Hint("cut a link, look at the digests, heal it", tuple(
            f"{PLANB} link --demo {demo} {verb}" for verb in (f"cut {first} {last}", "list", f"heal {first} {last}")
        )),
        Hint(f"kill -9 of all of {last}, then bring it back from object storage and the others", tuple(
            f"{PLANB} dc --demo {demo} {verb}" for verb in (f"kill {last}", f"rebuild {last}")
        )),
    ]  # fmt: skip


def page(urls: Mapping[str, str], person: Person, demo: int) -> list[str]:
    """All of it, to be printed."""
    lines = [
        f"You are {person.user}, password {person.password}, a member of the chat “{person.title}”.",
        "In another terminal, in this folder, paste first:",
        "",
        *(f"  {line}" for line in variables(urls, person)),
    ]
    for what, run in hints(tuple(urls), person, demo):
        lines += ["", what, *(f"  {line}" for line in run)]
    return [*lines, ""]


def short(demo: int, names: tuple[str, ...]) -> list[str]:
    """What the dashboard has room for."""
    first, last = names[0], names[-1]
    calls = (
        (f"try --demo {demo}", "lines to paste for curl"),
        (f"link --demo {demo} cut {first} {last}", "then: heal, list"),
        (f"dc --demo {demo} kill {last}", f"then: rebuild {last}, list"),
    )
    return ["In another terminal, in this folder:", *(f"  {PLANB} {call:<33} {then}" for call, then in calls)]


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")

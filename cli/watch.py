"""`planb watch`: what the websocket pushes to a user, line by line."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime

from cli.called import Called
from cli.lines_text import words_of
from core.errors import Invalid, PlanBError, Unauthenticated, Unavailable
from planb_sdk import ApiError, Client, Options, Update
from planb_sdk import PlanBError as SdkError
from planb_sdk import Unauthenticated as NotLoggedIn

TOKEN = "PLANB_TOKEN"
SDK = "planb_sdk"
"""Its logger."""
SILENT_S_MAX = 1.0
"""Who waits for longer is told for what."""
FIRST_ANSWER_S_MAX = 10.0
"""Who has never been answered has a wrong address more likely than a bad day."""


async def run(args: argparse.Namespace) -> None:
    """Until Ctrl-C. The token comes from the environment: arguments are seen by everybody on the machine."""
    token = os.environ.get(TOKEN, "")
    if not token:
        raise Invalid(f"{TOKEN} is not set: export it with a token, as `planb try` or POST /v1/login gives one")
    for url in args.urls:
        if not url.startswith(("http://", "https://")):
            raise Invalid(f"{url}: give the address of a datacenter, as http://127.0.0.1:8080")
    try:
        first = Client(args.urls, token, options=Options(give_up_s=FIRST_ANSWER_S_MAX))
        async with first, _patience(args.urls):
            me = await first.me()
        async with Client(args.urls, token, user=me.id) as client:
            called = Called(client)
            print(f"updates of {me.name} ({me.id}) from {client.region}; Ctrl-C ends", file=sys.stderr, flush=True)
            logging.getLogger(SDK).setLevel(logging.INFO)  # what the updates wait for, should they
            await client.begin()
            async with aclosing(client.updates()) as updates:
                async for update in updates:
                    print(_as_json(update) if args.json else await as_line(update, called), flush=True)
    except BrokenPipeError:  # `planb watch … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except NotLoggedIn as error:
        raise Unauthenticated(f"{error.detail}: log in again, or look at {TOKEN}") from error
    except ApiError as error:
        raise _refused(error) from error
    except SdkError as error:
        raise Unavailable(f"no answer from {', '.join(args.urls)}. Does it run?", private=str(error)) from error


@asynccontextmanager
async def _patience(urls: Sequence[str]) -> AsyncIterator[None]:
    """Around a call that is repeated for long."""

    async def tell() -> None:
        await asyncio.sleep(SILENT_S_MAX)  # a period, not a condition
        wait = f"it is asked for {FIRST_ANSWER_S_MAX:.0f} s at most"
        print(f"no answer from {', '.join(urls)} yet; {wait}", file=sys.stderr, flush=True)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()


def _as_json(update: Update) -> str:
    shown = {"type": update.type, "event": update.event, "pts": update.pts, "channel": update.channel}
    return json.dumps(shown | {"update": update.body}, ensure_ascii=False)


async def as_line(update: Update, called: Called) -> str:
    """What a person is told of an update: people and chats by name."""
    return f"{datetime.now():%H:%M:%S}  {update.type:<9} {await _told(update, called)}"


async def _told(update: Update, called: Called) -> str:
    message, body = update.message, update.body
    if message is not None:
        text = "(recalled)" if message.text is None else json.dumps(message.text, ensure_ascii=False)
        marks = " (edited)" if message.edited and not message.recalled else ""
        reactions = "".join(f" {emoji}×{len(users)}" for emoji, users in message.reactions.items())
        where = await called.conversation(message.conversation, message)
        who = await called.user(message.sender)
        if message.system:
            return f"{where}  {who} {await words_of(message, called)}"
        return f"{where}  {who}: {text}{marks}{reactions}"
    if update.type == "member":
        where, who = await called.conversation(body["chat"]), await called.user(body["user"])
        role = f", as {body['role']}" if body["role"] else ""
        return f"{where}  in it now: {who}{role}" if body["present"] else f"{where}  not in it any more: {who}"
    if update.type in ("user", "chat"):
        called.changed(str(body[update.type].get("id", "")))
    chat = update.chat
    if chat is not None:
        about = f": {json.dumps(chat.about, ensure_ascii=False)}" if chat.about else ""
        return f"{await called.conversation(chat.id)}  {'dissolved' if chat.dissolved else chat.kind}{about}"
    return json.dumps(body, ensure_ascii=False)


def _refused(error: ApiError) -> PlanBError:
    return Unavailable(f"the datacenter refused: {error.detail} [{error.code}]")

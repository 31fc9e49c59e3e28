"""`planb import`: sends the conversations of IRC logs to running datacenters, as their users would."""

import argparse
from typing import Any

from cli import irc
from cli import settings as configuration
from cli.cast import Cast
from cli.narrator import Narrator
from cli.regions import Region
from core.errors import ConfigError, Invalid


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Users are made where they are missing; a second import says everything again."""
    found = [configuration.load(path) for path in args.config]
    names = [settings.dc.name for settings in found]
    if len(set(names)) != len(names):
        raise ConfigError("each --config is to describe another datacenter")
    regions = {
        settings.dc.name: Region(
            settings.dc.number,
            f"http://{settings.public.host}:{settings.public.port}",
            f"http://{settings.sys.host}:{settings.sys.port}",
        )
        for settings in found
    }
    cast = Cast(regions, configuration.secret(found[0].secrets.sys_key_file), watched=False)
    conversations = []
    for path in args.files:
        try:
            conversations.append(irc.parse_file(path))
        except OSError as error:
            raise Invalid(f"{path}: {error.strerror}") from error
    narrator = Narrator(cast, conversations)
    await cast.open()
    try:
        await narrator.prepare()
        await narrator.tell(1.0)
    finally:
        await cast.close()
    return {
        "ok": True,
        "messages": narrator.messages,
        "chats": [
            {"file": str(path), "chat": tale.peer} for path, tale in zip(args.files, narrator.tales, strict=True)
        ],
        "skipped": sum(conversation.skipped for conversation in conversations),
        "empty": sum(conversation.empty for conversation in conversations),
        "refused": [
            {"file": one.file, "line": one.line, "nick": one.nick, "bytes": one.size, "reason": one.reason}
            for conversation in conversations
            for one in conversation.refused
        ],
    }

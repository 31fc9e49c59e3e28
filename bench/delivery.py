"""What a delivery to a websocket costs: the same load with and without people who listen."""

from collections.abc import Sequence
from uuid import uuid4

import aiohttp

from bench.load import Load, Sender
from bench.report import number, table
from bench.world import World

CONNECTIONS = 200
DIRECT_RATE_S = 300
GROUP_RATE_S = 20
GROUP_SENDERS = 4

Figures = dict[str, object]


async def measure(world: World, seconds: float) -> list[Figures]:
    """200 websockets: messages between two of them, and messages of a supergroup that all of them are in."""
    group = await _supergroup(world)
    talks = [Sender(token, group) for token in world.tokens[:GROUP_SENDERS]]
    return [
        await _measure(world, "two of 200", world.pairs(CONNECTIONS), DIRECT_RATE_S, seconds),
        await _measure(world, "a supergroup of 200", talks, GROUP_RATE_S, seconds),
    ]


async def _measure(world: World, what: str, senders: list[Sender], rate: float, seconds: float) -> Figures:
    name = world.names[0]
    quiet, loud = [
        await world.load(
            Load(world.home.ports.public, senders, seconds, rate_s=rate, pids=world.pids(), listeners=listeners)
        )
        for listeners in ([], world.listeners(name, CONNECTIONS))
    ]
    heard = loud.heard[name]
    alone_us = {part: 1e6 * used / max(1, quiet.messages) for part, used in quiet.cpu_s.items()}
    more_s = {part: used - alone_us[part] * loud.messages / 1e6 for part, used in loud.cpu_s.items() if part != "load"}
    return {
        "what": what,
        "connections": CONNECTIONS,
        "messages_s": loud.messages / loud.seconds,
        "deliveries_s": heard.count / loud.seconds,
        "late": loud.late,
        "us_per_delivery": {part: 1e6 * used / max(1, heard.count) for part, used in more_s.items()},
        "p50_ms": heard.p50_ms,
        "p99_ms": heard.p99_ms,
    }


async def _supergroup(world: World) -> str:
    """With all users in it."""
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {world.tokens[0]}", "Idempotency-Key": str(uuid4())}
        users = [f"Ub{number}" for number in range(1, len(world.tokens))]
        body = {"kind": "supergroup", "title": "All", "users": users}
        async with session.post(f"{world.home.url}/v1/chats", json=body, headers=headers) as answer:
            answer.raise_for_status()
            return str((await answer.json())["chat"])


def show(found: Sequence[Figures]) -> str:
    """The table."""
    rows = []
    for one in found:
        parts = one["us_per_delivery"]
        assert isinstance(parts, dict)
        cells = (one["messages_s"], one["deliveries_s"], one["p50_ms"], one["p99_ms"], *parts.values())
        rows.append((str(one["what"]), *(number(float(str(cell))) for cell in cells)))
    head = ("deliveries", "msg/s", "deliveries/s", "p50 ms", "p99 ms", "api µs each", "log µs", "hot µs")
    return table("To 200 websockets; µs are what listening adds, per delivery", head, rows)

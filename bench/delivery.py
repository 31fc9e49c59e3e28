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
    quiet, loud, again = [
        await world.load(
            Load(world.home.ports.public, senders, seconds, rate_s=rate, pids=world.pids(), listeners=listeners)
        )
        for listeners in ([], world.listeners(name, CONNECTIONS), [])
    ]
    heard = loud.heard[name]
    api = f"{name} api"
    alone = [1e6 * one.cpu_s[api] / max(1, one.messages) for one in (quiet, again)]
    each = heard.count / max(1, loud.messages)
    with_us = 1e6 * loud.cpu_s[api] / max(1, loud.messages)
    low, high = ((with_us - one) / max(each, 1e-9) for one in (max(alone), min(alone)))
    return {
        "what": what,
        "connections": CONNECTIONS,
        "messages_s": loud.messages / loud.seconds,
        "deliveries_s": heard.count / loud.seconds,
        "late": loud.late,
        "us_per_delivery_low": low,
        "us_per_delivery_high": high,
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
        cells = (one["messages_s"], one["deliveries_s"], one["p50_ms"], one["p99_ms"])
        span = f"{float(str(one['us_per_delivery_low'])):.0f} to {float(str(one['us_per_delivery_high'])):.0f}"
        rows.append((str(one["what"]), *(number(float(str(cell))) for cell in cells), span))
    head = ("deliveries", "msg/s", "deliveries/s", "p50 ms", "p99 ms", "api µs each")
    return table(
        "To 200 websockets; µs: what listening adds to the phase before it, and to the one after it",
        head,
        rows,
    )

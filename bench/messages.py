"""What a message costs: message.send over REST, at 1, 16 and 200 clients."""

from collections.abc import Sequence

from bench.load import Load
from bench.report import number, table
from bench.world import World

CLIENTS = (1, 16, 200)
BATCH = 50

Figures = dict[str, object]


async def measure(world: World, clients: int, seconds: float, *, batch: int = 0) -> Figures:
    """Closed loop: every client sends its next message when the last one was answered."""
    names = world.names
    load = Load(
        world.home.ports.public, world.pairs(clients), seconds, warm_s=min(1.0, seconds / 2), batch=batch,
        pids=world.pids(),
    )  # fmt: skip
    done = await world.load(load)
    each = {part: 1e6 * used / max(1, done.messages) for part, used in done.cpu_s.items()}
    return {
        "clients": clients,
        "batch": batch,
        "datacenters": len(names),
        "messages": done.messages,
        "failures": done.failures,
        "rate_s": done.messages / done.seconds,
        "p50_ms": done.latency.p50_ms,
        "p99_ms": done.latency.p99_ms,
        "cpu_us": each,
        "home_us": sum(used for part, used in each.items() if part.split()[0] == names[0]),
        "others_us": sum(used for part, used in each.items() if part.split()[0] in names[1:]),
    }


def show(found: Sequence[Figures]) -> str:
    """The table."""
    rows = []
    for one in found:
        cpu = one["cpu_us"]
        assert isinstance(cpu, dict)
        home = next(iter(cpu)).split()[0]
        label = f"{one['clients']} clients, {one['datacenters']} DC" + (
            f", batches of {one['batch']}" if one["batch"] else ""
        )
        parts = [cpu[f"{home} {part}"] for part in ("api", "log", "hot")]
        cells = [one["rate_s"], one["p50_ms"], one["p99_ms"], *parts, one["home_us"], one["others_us"], cpu["load"]]
        rows.append((label, *(number(float(str(cell))) for cell in cells)))
    head = (
        "message.send",
        "msg/s",
        "p50 ms",
        "p99 ms",
        "api µs",
        "log µs",
        "hot µs",
        "DC µs",
        "other DCs µs",
        "load µs",
    )
    return table("CPU per message of each process, and wall figures", head, rows)

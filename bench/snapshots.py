"""Snapshot and restore of a datacenter: rows a second, as whole commands, and until it serves again."""

import time

from bench.report import number, table
from bench.world import World

Figures = dict[str, object]


async def measure(world: World) -> Figures:
    """`planb snapshot create` on the running DC; then it burns, `planb restore`, and it starts again."""
    site = world.home
    begun = time.perf_counter()
    made = await site.snapshot()
    made_s = time.perf_counter() - begun
    site.kill()
    site.burn()
    await site.start_servers()
    begun = time.perf_counter()
    restored = await site.restore()
    restored_s = time.perf_counter() - begun
    await site.start()
    await site.ready()
    served_s = time.perf_counter() - begun
    rows = int(made["rows"])
    return {
        "rows": rows,
        "bytes": made["bytes"],
        "dump_s": made["took_ms"] / 1000,
        "dump_rows_s": rows / (made["took_ms"] / 1000),
        "snapshot_command_s": made_s,
        "restore_command_s": restored_s,
        "restore_rows_s": rows / restored_s,
        "log_records": restored["log_records"],
        "serves_again_s": served_s,
    }


def show(found: Figures) -> str:
    """The table."""
    names = ("rows", "dump_s", "dump_rows_s", "snapshot_command_s", "restore_command_s", "restore_rows_s",
             "log_records", "serves_again_s")  # fmt: skip
    head = ("snapshot", "rows", "dump s", "rows/s", "command s", "restore s", "rows/s", "log records", "serves after s")
    return table(
        "Snapshot and restore", head, [("one DC", *(number(float(str(found[name]))) for name in names))]
    )  # fmt: skip

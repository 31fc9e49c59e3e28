"""The function library of hot state: its text as it is loaded, and what a server says about it."""

import hashlib
import re
from importlib import resources
from typing import NamedTuple

import hiredis

from core.errors import ConfigError, StoreUnavailable
from stores.adapters.valkey_batcher import Send
from stores.ports import EpochLost


class Library(NamedTuple):
    text: str
    layout: str
    digest: str

    def named(self, function: str) -> str:
        return f"{function}_{self.layout}"

    async def load(self, send: Send) -> None:
        await send("FUNCTION", "LOAD", "REPLACE", self.text)


def source() -> str:
    """Of a server."""
    return resources.files("stores.adapters").joinpath("planb_hot.lua").read_text()


def source_for_cluster() -> str:
    """Of a node of a cluster: its own part stands behind what a server has."""
    return source() + resources.files("stores.adapters").joinpath("planb_hot_cluster.lua").read_text()


def library(source: str) -> Library:
    """The Lua source with its layout and digest in their places."""
    found = re.search(r"^local LAYOUT = '(\d+)'$", source, re.MULTILINE)
    assert found, "planb_hot.lua names its layout"
    digest = hashlib.blake2b(source.encode(), digest_size=8).hexdigest()
    return Library(source.replace("@layout@", found[1]).replace("@digest@", digest), found[1], digest)


async def facts(send: Send) -> dict[str, str]:
    """What a server says of itself. `run_id` is the process: it changes with a restart, and a replica has another."""
    reply = await send("INFO", "server", "memory", "replication")
    found = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
    wanted = ("run_id", "maxmemory_policy", "lazyfree_pending_objects", "role", "master_replid")
    if missing := [name for name in wanted if name not in found]:
        raise StoreUnavailable(private=f"the server does not tell its {', '.join(missing)}")
    return found


def refuse_eviction(facts: dict[str, str]) -> None:
    """ConfigError for a server that would forget some keys when it is full."""
    if facts["maxmemory_policy"].startswith("allkeys"):
        raise ConfigError(
            "the hot store's server evicts keys: updates would vanish within an epoch",
            private=f"maxmemory-policy {facts['maxmemory_policy']}, it must be noeviction",
        )


def foreign(name: str) -> ConfigError:
    return ConfigError("the hot store's database holds other data; it must be this DC's alone", private=name)


def unknown_function(error: hiredis.ReplyError) -> bool:
    return str(error).startswith("ERR Function not found")


def translated(error: hiredis.ReplyError) -> Exception:
    code, _, text = str(error).partition(" ")
    if code == "EPOCHLOST":
        return EpochLost(text)
    if code == "FOREIGN":
        return foreign(text)
    return StoreUnavailable(private=str(error))

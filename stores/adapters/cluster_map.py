"""Which node of a Redis or Valkey cluster serves which slot: CRC16 of a key's tag, and what the nodes say."""

import functools
from binascii import crc_hqx
from collections.abc import Iterable
from typing import NamedTuple

SLOTS = 16_384


@functools.lru_cache(maxsize=65_536)
def slot_of(tag: str) -> int:
    """Of a key with this text in its braces. A brace in the text ends it, as it does for the server."""
    return crc_hqx(tag.partition("}")[0].encode(), 0) % SLOTS


@functools.cache
def tags() -> tuple[str, ...]:
    """For each slot a tag that falls into it."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SLOTS:
        tag = str(number)
        found.setdefault(crc_hqx(tag.encode(), 0) % SLOTS, tag)
        number += 1
    return tuple(found[slot] for slot in range(SLOTS))


class Member(NamedTuple):
    """One line of CLUSTER NODES."""

    id: str
    address: str
    primary: bool
    """It answers, as far as the others know, and is nobody's replica."""
    epoch: int
    """Of its claim to its slots: the greater one is right."""
    slots: str
    """As it was said: "0-5460 5462"."""


def members(text: str, asked: str) -> list[Member]:
    """What a node that is reached at `asked` (host:port) says. Those that nobody can reach are left out."""
    found = []
    for line in text.splitlines():
        id, place, flags, _, _, _, epoch, _, *slots = line.split()
        address = place.partition(",")[0].partition("@")[0]
        host, _, port = address.rpartition(":")
        if not host or "myself" in flags:
            host, port = asked.rpartition(":")[0], port
        if port == "0" or {"noaddr", "handshake"} & set(flags.split(",")):
            continue
        primary = "master" in flags.split(",") and "fail" not in flags.split(",")
        owned = " ".join(slot for slot in slots if not slot.startswith("["))
        found.append(Member(id, f"{host}:{port}", primary, int(epoch), owned))
    return found


def owners(claims: Iterable[Member]) -> list[str | None]:
    """Slot -> the address that serves it: of several who claim it, the one whose claim is the newest."""
    found: list[str | None] = [None] * SLOTS
    for one in sorted(set(claims), key=lambda member: member.epoch):
        for part in one.slots.split():
            first, _, last = part.partition("-")
            for slot in range(int(first), int(last or first) + 1):
                found[slot] = one.address
    return found

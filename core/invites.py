"""Links by which a chat is entered, and requests to be let in.

A link says itself what it allows, and the datacenters sign it (api/links.py): where its row has not arrived yet it
works all the same, and nowhere is anything kept by which one could enter. How often it was used is a vector per lane:

    uses[lane] = max of the uses that this lane's writer had counted

A request is a row that only appears; an answer ends those that its origin had applied (once). One that it had not seen
still stands, unless its user was added after it.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from core.membership import Membership
from core.unreadable import UNREADABLE

PREFIX = "PL1"
NEVER_MS = (1 << 53) - 1
"""When a link ends that has no end."""


class Link(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a link allows."""

    chat: str
    invite: str
    expires_ms: int
    uses_max: int
    """0: any number."""
    approval: bool
    """It leads to a request, which an admin answers."""


class Invite(NamedTuple):
    """A link's row."""

    link: Link
    creator: str
    made: int
    """The event that made it."""
    revoked: bool
    uses: Mapping[int, int]
    """lane -> uses counted."""

    @property
    def used(self) -> int:
        return sum(self.uses.values())


class Asked(NamedTuple):
    """One request."""

    event: int
    user: str
    invite: str
    """The link that it came by; "" for one without."""
    ended: bool


def payload(link: Link) -> bytes:
    """What is signed."""
    return msgspec.msgpack.encode(link)


def spelled(link: Link) -> str:
    """Without a signature: it lets nobody in."""
    return f"{PREFIX}.{urlsafe_b64encode(payload(link)).rstrip(b'=').decode()}"


def read(payload: bytes) -> Link | None:
    """What was signed; None where this version can not read it."""
    try:
        return msgspec.msgpack.decode(payload, type=Link)
    except UNREADABLE:
        return None


def claimed(text: str) -> Link | None:
    """What a link's text says, whoever wrote it: for whom to wait, not for what to allow."""
    body = text.partition(".")[2].partition(".")[0]
    try:
        return read(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, binascii.Error):
        return None


def standing(rows: Iterable[Asked], membership: Membership) -> list[Asked]:
    """Of one user's requests those that wait for an answer: none of one who is in the chat, or was added since."""
    if membership.present:
        return []
    added = max((add.id for add in membership.adds.values()), default=0)
    return [row for row in rows if not row.ended and row.event > added]

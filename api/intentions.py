"""What is being done in this process, by (actor, key): whoever comes with the same key meanwhile gets its outcome."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import KeyReused, OutcomeUnknown
from core.tables import canonical

_FINGERPRINT_BYTES = 8
_PERSON = b"fingerprint"

Slot = tuple[str, str]
"""(actor, key)."""


class Done(msgspec.Struct, frozen=True, gc=False):
    """What a write came to."""

    id: int
    body: dict[str, Any]
    """Its answer."""


class Running:
    """One intention under way."""

    __slots__ = ("_told", "fingerprint")

    def __init__(self, fingerprint: bytes) -> None:
        self.fingerprint = fingerprint
        self._told: asyncio.Future[Done] | None = None  # made when somebody asks; hardly ever

    async def outcome(self) -> Done:
        """What it comes to, or its error. Cancelling whoever asks does not touch it."""
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._told)

    def settle(self, outcome: Done | BaseException) -> None:
        """Tells those who came with the same key meanwhile. Call it once, when its slot is free."""
        if self._told is None:
            return
        if isinstance(outcome, Done):
            self._told.set_result(outcome)
            return
        # A cancelled leader leaves the outcome open; the others must not be cancelled with it.
        self._told.set_exception(outcome if isinstance(outcome, Exception) else OutcomeUnknown())
        self._told.exception()  # whoever asked may have gone


def fingerprint(key: bytes, action: str, fields: Mapping[str, Any]) -> bytes:
    """8 bytes of BLAKE2b over the action's name and the canonical JSON of the request.

    Keyed with what only DCs know: it goes into logs, and a message's class, which clients see, follows from it. Without
    a key, a recalled text or a password could be found by trying words.
    """
    text = action.encode() + b"\0" + canonical(fields)
    return hashlib.blake2b(text, digest_size=_FINGERPRINT_BYTES, key=key, person=_PERSON).digest()


def fingerprint_key(secret: bytes) -> bytes:
    """`key` for `fingerprint`, from the secret that all DCs share."""
    return hashlib.blake2b(secret, digest_size=32, person=_PERSON).digest()


def require_same(known: bytes, now: bytes) -> None:
    """KeyReused for another request under the key of this one."""
    if known != now:
        raise KeyReused()

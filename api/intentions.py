"""What is being done in this process, by (actor, key): whoever comes with the same key meanwhile gets its outcome."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from core.errors import KeyReused, OutcomeUnknown
from core.tables import canonical

_FINGERPRINT_BYTES = 8

Slot = tuple[str, str]
"""(actor, key)."""


class Done(NamedTuple):
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


def fingerprint(action: str, fields: Mapping[str, Any]) -> bytes:
    """8 bytes of BLAKE2b over the action's name and the canonical JSON of the request."""
    return hashlib.blake2b(action.encode() + b"\0" + canonical(fields), digest_size=_FINGERPRINT_BYTES).digest()


def require_same(known: bytes, now: bytes) -> None:
    """KeyReused for another request under the key of this one. Of what hot state was rebuilt from, messages don't
    know their request (b""): under such a key any will do."""
    if known and known != now:
        raise KeyReused()

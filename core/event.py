"""An event: one use of an action, with everything that was decided at its origin."""

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One write. `id` is identity, timestamp and tie-break; `id & 0xffff` is the lane it lives in."""

    id: int
    action: str
    version: int
    actor: str
    """The user who did it, or "sys" for the customer's own system."""
    key: str
    """The client's Idempotency-Key; "" where there was none."""
    fingerprint: bytes
    """8 bytes of BLAKE2b of the request, so that a key used for another body is noticed."""
    args: Any
    """The action's `Args` struct."""

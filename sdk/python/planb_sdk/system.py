"""Where randomness enters the SDK: a program of its own, it can't use the server's core/system.py."""

import os
import random
import uuid
from collections.abc import Callable

Entropy = Callable[[int], bytes]


def entropy(n: int) -> bytes:
    """`n` bytes from the operating system's generator."""
    return os.urandom(n)  # noqa: TID251  (the one place)


def new_key(source: Entropy) -> str:
    """An Idempotency-Key: a UUID, version 4."""
    return str(uuid.UUID(bytes=source(16), version=4))


def generator(source: Entropy) -> random.Random:
    """For jitter."""
    return random.Random(source(16))

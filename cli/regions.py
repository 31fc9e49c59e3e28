"""Where a datacenter is reached from outside."""

from typing import NamedTuple


class Region(NamedTuple):
    number: int
    """The DC's number: ids name lanes by it."""
    url: str
    """Its public listener."""
    sys_url: str
    """Its internal listener."""

"""What a client went through."""

from dataclasses import dataclass


@dataclass(slots=True)
class Stats:
    received: int = 0
    """Updates handed on, without those that came again."""
    repeated: int = 0
    """Updates that came again and were dropped."""
    missed: int = 0
    """Holes that a fetch did not close. Never anything but 0."""
    holes: int = 0
    """Gaps in pts that were seen and fetched."""
    fetched: int = 0
    """Updates that came by POST /v1/updates."""
    fetches: int = 0
    resumes: int = 0
    """How often the server told us to fetch."""
    resets: int = 0
    """How often more was trimmed than updates could tell, and state was loaded anew."""
    reconnects: int = 0
    switches: int = 0
    """Changes of region."""
    retries: int = 0
    """Requests sent again after a failure."""
    resent: int = 0
    """Acknowledged writes that a region did not cover and that were sent again."""
    refused: int = 0
    """Writes that a region refused when they were sent again: they are given up."""
    evicted: int = 0
    """Acknowledged writes that left the outbox to make room, before another region was known to cover them."""
    refreshes: int = 0
    """Times that new tokens were asked for."""

"""Every bound and pause of the SDK. Units are the last part of a name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    request_timeout_s: float = 10.0
    """One try of one request."""
    give_up_s: float = 30.0
    """All tries of one call; then Unreachable."""
    backoff_first_s: float = 0.05
    backoff_max_s: float = 5.0
    tries_per_region: int = 3
    """Failures in a row after which the next region is tried."""
    auto_switch: bool = True
    connections_max: int = 16
    """Sockets to one region."""
    page: int = 100
    outbox_max: int = 1_000
    """Writes that wait for their answer, or are kept after it; the oldest kept ones make room. At most what the
    server answers for in one call (KEPT_MAX)."""
    outbox_bytes_max: int = 4_194_304
    resend_after_s: float = 2.0
    """How long a region that does not cover a write may take to hear of it before the write is sent again."""
    doubles_kept_max: int = 10_000
    """Updates, and messages, that are remembered so that a double is noticed."""
    cursor_after: int = 200
    """Updates over the stream after which a new cursor is taken: so many may come again after a change of region, and
    a region that does not keep more can still tell what is new."""
    pending_max: int = 10_000
    """Updates that wait to be taken from `Client.updates`."""
    history_max: int = 500
    """Messages per conversation in `Client.state`."""
    spread_s: float = 1.0
    """After an interruption that everybody has, the fetch begins within this time, not at once."""
    silent_beats: float = 2.5
    """A stream that is silent for this many heartbeats is dead."""

"""Every bound of the system, with their relations asserted. Units are the last part of a name."""

CLOCK_ERROR_MS_MAX = 200
"""How far a DC's wall clock may be off before it refuses writes."""
CARRY_MS_MAX = 100
"""How far a burst may carry ids into the future."""
CLOCK_SKEW_MS_MAX = 500
"""An id further ahead than this is applied, but does not move our clock."""

MESSAGE_BYTES_MAX = 16_384
NAME_CHARS_MAX = 128
TEXT_FIELD_CHARS_MAX = 2_048
GROUP_MEMBERS_MAX = 20
SUPERGROUP_ADD_MAX = 200
"""Members named in one call."""
EMOJI_CHARS_MAX = 32
KEY_CHARS_MAX = 64
BATCH_MESSAGES_MAX = 100
BODY_BYTES_MAX = 2_097_152
"""A request body: a full batch of full messages fits."""
PAGE_MAX = 100

LANE_QUEUE_MAX = 4_096
"""Writes that wait for the log; beyond it 503 with Retry-After."""
LANE_BATCH_MAX = 512
"""Events in one group commit."""
APPLY_QUEUE_MAX = 8_192
PULL_RECORDS_MAX = 2_000
PULL_BYTES_MAX = 4_194_304
PULL_WAIT_MS_MAX = 5_000
INBOX_RECORDS_MAX = 20_000
PARKED_MAX = 10_000

UPDATES_KEPT_MAX = 10_000
"""Updates kept per user (and per supergroup) in the hot store; older ones are trimmed, then a cursor is `reset`."""
RECENT_KEPT_MAX = 500
"""Ids per conversation that unread counts are computed over."""
MESSAGE_LINGER_MS = 50
"""Message rows may follow their event's answer by this much."""
VIEW_CACHE_MAX = 50_000
"""Relational rows kept in memory per process."""
RESULT_KEPT_S = 86_400
"""How long (actor, key) -> result is kept."""

CONNECTION_QUEUE_MAX = 1_000
"""Updates waiting for one websocket; a slower reader is dropped and told to resume."""
CONNECTIONS_MAX = 20_000
HEARTBEAT_S = 20
TOKEN_DAYS = 30

SEGMENT_RECORDS_MAX = 5_000
CHUNK_ROWS_MAX = 10_000

DC_MAX = 31
INCARNATION_MAX = 15
WORKER_MAX = 127


def ticks(ms: int) -> int:
    """Clock ticks in `ms` milliseconds (256 ticks are 10 ms)."""
    return (ms << 8) // 10


assert CLOCK_SKEW_MS_MAX >= 2 * CLOCK_ERROR_MS_MAX + CARRY_MS_MAX
assert LANE_BATCH_MAX <= LANE_QUEUE_MAX <= APPLY_QUEUE_MAX
assert BATCH_MESSAGES_MAX * MESSAGE_BYTES_MAX < BODY_BYTES_MAX
assert RECENT_KEPT_MAX <= UPDATES_KEPT_MAX

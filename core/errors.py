"""One error tree: a stable code -> HTTP problem type -> CLI exit code. What a client sees is `code` and `detail`."""

from typing import ClassVar


class PlanBError(Exception):
    """The root. `detail` is for the client; `private` is logged and never sent."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(
        self, detail: str = "", *, private: str = "", retry_after_s: float | None = None, **members: object
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.private = private
        self.retry_after_s = retry_after_s
        self.members = members
        """Further members of the problem document (RFC 9457), e.g. `errors`."""


# -- the caller's fault


class Invalid(PlanBError):
    code, status, exit_code, title = "invalid", 400, 2, "The request is not valid"


class Unauthenticated(PlanBError):
    code, status, exit_code, title = (
        "unauthenticated",
        401,
        3,
        "Not authenticated",
    )


class TokenExpired(Unauthenticated):
    code, title = "token_expired", "The access token has expired: POST /v1/token/refresh brings another"


class RefreshReused(Unauthenticated):
    code, title = "refresh_reused", "An old refresh token came again: its session was ended"


class OutOfTime(Unauthenticated):
    code, title = "out_of_time", "The signature is out of time: a clock is wrong"


class Forbidden(PlanBError):
    code, status, exit_code, title = "forbidden", 403, 3, "Not allowed"


class ForbiddenHeader(Forbidden):
    code, title = "forbidden_header", "This header is for the internal listener only"


class NotFound(PlanBError):
    code, status, exit_code, title = "not_found", 404, 4, "There is no such thing"


class Conflict(PlanBError):
    code, status, exit_code, title = "conflict", 409, 5, "The present state does not allow this"


class Full(Conflict):
    code, title = "group_full", "The group has all the members it can have"


class UserFull(Conflict):
    code, title = "user_full", "The user is in all the supergroups that he can be in"


class ChatFull(Conflict):
    code, title = "chat_full", "The chat has as many of these as it can have"


class AccountFull(Conflict):
    code, title = "account_full", "The account has as many of these as it can have"


class MessageFull(Conflict):
    code, title = "message_full", "The message has all the reactions or revisions that it can have"


class NotYetHere(Conflict):
    code, title = "not_yet_here", "This datacenter does not know it yet; try again shortly"


class ClockAhead(Conflict):
    code, title = "clock_ahead", "X-Clock lies too far ahead"


class AlreadyReceived(Conflict):
    code, title = "already_received", "This signed request was received before"


class Gone(PlanBError):
    code, status, exit_code, title = "gone", 410, 5, "It was dissolved, recalled or revoked"


class BadSignature(Forbidden):
    code, title = "bad_signature", "The records are not signed by their datacenter"


class LaneGap(Conflict):
    code, title = "lane_gap", "Records before these are missing"


class LaneForked(Conflict):
    code, title = "lane_forked", "Other records stand at these places of the lane"


class TooLarge(PlanBError):
    code, status, exit_code, title = "too_large", 413, 2, "Too large"


class KeyReused(PlanBError):
    code, status, exit_code, title = "key_reused", 422, 5, "This Idempotency-Key was used with another body"


class TooMany(PlanBError):
    code, status, exit_code, title = "too_many_requests", 429, 6, "Too many requests"


# -- our fault, or a bad day


class Unavailable(PlanBError):
    code, status, exit_code, title = "unavailable", 503, 6, "Temporarily unavailable"


class LogUnavailable(Unavailable):
    code, title = "log_unavailable", "The event log is not reachable; nothing happened"


class OutcomeUnknown(Unavailable):
    code, title = "outcome_unknown", "The outcome is not known yet; the same key tells it later"


class StoreUnavailable(Unavailable):
    code, title = "store_unavailable", "A store is not reachable"


class ClockRefused(Unavailable):
    code, title = "clock_refused", "This datacenter's clock is not trusted now"


class Overloaded(Unavailable):
    code, title = "overloaded", "A queue is full; try again shortly"


class NotServing(Unavailable):
    code, title = "not_serving", "This datacenter does not serve yet"


class LinkFailed(Unavailable):
    code, title = "link_failed", "Another datacenter is not reachable"


class LaneLost(Unavailable):
    code, title = "lane_lost", "Another process took over this lane"


class LeaseLost(Unavailable):
    code, title = "lease_lost", "This process does not hold its lease; nothing happened"


# -- data that must not be believed


class Corrupt(PlanBError):
    code, status, exit_code, title = "corrupt", 500, 7, "Stored data is damaged"


class Forked(Corrupt):
    code, title = "forked", "Two different records claim the same place in a lane"


class Undecodable(PlanBError):
    """A record this version can't read or apply: it is parked, never dropped."""

    code, status, exit_code, title = "undecodable", 500, 7, "An event can not be applied by this version"


# -- the operator


class ConfigError(PlanBError):
    code, status, exit_code, title = "config", 500, 8, "The settings are not usable"


class SnapshotVoid(PlanBError):
    code, status, exit_code, title = "snapshot_void", 500, 9, "The snapshot is not valid"


class DigestDiffers(PlanBError):
    code, status, exit_code, title = "digest_differs", 500, 10, "State digests differ"

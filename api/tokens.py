"""Access tokens: stateless and signed, `PB1.<[session, user, expires_ms]>.<mac>`.

A session's row may not have arrived in this DC yet: a validly signed, unexpired token works all the same. Once a
revocation is applied here the token is dead, whatever was cached.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from api.signing import Signer
from core import limits
from core.action import SessionView
from core.errors import Unauthenticated
from core.system import Clock
from core.unreadable import UNREADABLE


class Sessions(Protocol):
    async def session(self, session: str) -> SessionView | None: ...


SessionNow = Callable[[str], SessionView | None]
"""A session as `Sessions` has it, at once; NotAtHand where that can't be."""


class Caller(NamedTuple):
    """Who calls, proven by a token."""

    user: str
    session: str
    expires_ms: int


class _Payload(msgspec.Struct, array_like=True):
    session: str
    user: str
    expires_ms: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Payload)


class Tokens:
    """Issues and checks tokens. `clock` is the wall clock in ms."""

    def __init__(self, key: bytes, sessions: Sessions, clock: Clock) -> None:
        self._signer = Signer(key, "PB1", limits.TOKEN_CHARS_MAX)
        self._sessions = sessions
        self._clock = clock
        self._verified: OrderedDict[str, Caller] = OrderedDict()

    def issue(self, session: str, user: str, expires_ms: int) -> str:
        return self._signer.seal(_encoder.encode(_Payload(session, user, expires_ms)))

    async def authenticate(self, token: str) -> Caller:
        """The caller. Unauthenticated when the token is forged, expired or revoked."""
        caller = self._proven(token, self._clock())
        return _unless_revoked(caller, await self._sessions.session(caller.session))

    async def of_header(self, authorization: str | None) -> Caller:
        """The caller of an `Authorization: Bearer …` header."""
        return await self.authenticate(_bearer(authorization))

    def now(self, authorization: str | None, session: SessionNow, now_ms: int) -> Caller:
        """The same at once, or what `session` raises."""
        caller = self._proven(_bearer(authorization), now_ms)
        return _unless_revoked(caller, session(caller.session))

    def _proven(self, token: str, now_ms: int) -> Caller:
        verified = self._verified
        caller = verified.get(token)
        if caller is None:
            caller = self._verify(token)
            verified[token] = caller
            if len(verified) > limits.TOKENS_CACHED_MAX:
                verified.popitem(last=False)
        else:
            verified.move_to_end(token)
        if caller.expires_ms <= now_ms:
            raise Unauthenticated("the token has expired")
        return caller

    def _verify(self, token: str) -> Caller:
        payload = self._signer.open(token)
        if payload is None:
            raise Unauthenticated("the token is not valid")
        try:
            found = _decoder.decode(payload)
        except UNREADABLE as error:
            raise Unauthenticated("the token is not valid", private=str(error)) from error
        return Caller(found.user, found.session, found.expires_ms)


def _bearer(authorization: str | None) -> str:
    """The token of an Authorization header."""
    if authorization is None:
        raise Unauthenticated("send Authorization: Bearer <token>")
    if authorization[:7].lower() != "bearer ":
        raise Unauthenticated("the Authorization header must be: Bearer <token>")
    return authorization[7:].strip(" ")


def _unless_revoked(caller: Caller, row: SessionView | None) -> Caller:
    if row is not None and row.revoked:
        raise Unauthenticated("the session was revoked")
    return caller

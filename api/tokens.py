"""Access tokens, JSON Web Tokens that live shortly, and refresh tokens, which bring new ones.

A session's row may not have arrived in this DC yet: a validly signed, unexpired token works all the same. Once a
revocation is applied here the token is dead, whatever was cached.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from api.jwt import Claims, Jwt
from api.signing import Signer
from api.token_keys import TokenKeys
from core import limits
from core.action import SessionView
from core.errors import TokenExpired, Unauthenticated
from core.refreshing import GENERATION_MAX, NUMBER_BITS, Refresh
from core.system import Clock, Entropy
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


_refreshes = msgspec.msgpack.Decoder(tuple[str, str, int, int, int, int])


class TokenRules(NamedTuple):
    """What all datacenters have alike, beside the keys."""

    issuer: str = "planb"
    life_s: int = limits.ACCESS_TOKEN_S


RULES = TokenRules()


class Tokens:
    """Issues and checks tokens. `clock` is the wall clock in ms."""

    def __init__(
        self, keys: TokenKeys, sessions: Sessions, clock: Clock, entropy: Entropy, rules: TokenRules = RULES
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._sessions = sessions
        self._clock = clock
        self._entropy = entropy
        self._verified: OrderedDict[str, Caller] = OrderedDict()
        self._take_keys()
        keys.on_change.append(self._take_keys)

    def _take_keys(self) -> None:
        """What was believed by a key that is gone is believed no more."""
        self._verified.clear()
        self._jwt = Jwt(self._keys.all)
        self._refresh = [
            Signer(key.secret, f"PR1.{key.name}", limits.REFRESH_TOKEN_CHARS_MAX) for key in self._keys.all
        ]

    def issue(self, session: str, user: str, expires_ms: int) -> str:
        """An access token, good until the session ends, and no longer than the rules allow."""
        now_s = self._clock() // 1000
        exp = min(expires_ms // 1000, now_s + self._rules.life_s)
        return self._jwt.sign(Claims(self._rules.issuer, user, session, now_s, exp))

    def first(self, session: str, user: str, ends_ms: int) -> dict[str, str | int]:
        """What who opened a session is answered, which ends then: an access token and a refresh token."""
        return self.after(Refresh(session, user, 0, 0, ends_ms, ends_ms))

    def after(self, used: Refresh) -> dict[str, str | int]:
        """What comes of a use of a refresh token now. Unauthenticated where nothing may come of it."""
        if used.generation >= GENERATION_MAX:
            raise Unauthenticated("the session was refreshed too often")
        number = int.from_bytes(self._entropy(NUMBER_BITS // 8))
        expires_ms = min(used.ends_ms, self._clock() + limits.REFRESH_DAYS * 86_400_000)
        return self.grant(used._replace(generation=used.generation + 1, number=number, expires_ms=expires_ms))

    def grant(self, refresh: Refresh) -> dict[str, str | int]:
        """An access token, and `refresh` as the refresh token beside it."""
        now_ms = self._clock()
        token = self.issue(refresh.session, refresh.user, refresh.ends_ms)
        life_s = max(0, min(self._rules.life_s, (refresh.ends_ms - now_ms) // 1000))
        return {
            "token": token,
            "token_life_s": life_s,
            "refresh_token": self._refresh[0].seal(msgspec.msgpack.encode(tuple(refresh))),
        }

    def refresh(self, text: str) -> Refresh:
        """Who comes with it. Unauthenticated when it is forged or has expired."""
        payload = next((found for one in self._refresh if (found := one.open(text)) is not None), None)
        if payload is None:
            raise Unauthenticated("the refresh token is not valid")
        try:
            came = Refresh(*_refreshes.decode(payload))
        except UNREADABLE as error:
            raise Unauthenticated("the refresh token is not valid", private=str(error)) from error
        if came.expires_ms <= self._clock():
            raise Unauthenticated("the refresh token has expired")
        return came

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
            raise TokenExpired("the token has expired")
        return caller

    def _verify(self, token: str) -> Caller:
        claims = self._jwt.read(token)
        if claims is None or claims.iss != self._rules.issuer:
            raise Unauthenticated("the token is not valid")
        if claims.iat * 1000 > self._clock() + limits.TOKEN_AHEAD_MS_MAX:
            raise Unauthenticated("the token is of a time that has not come: a clock is wrong")
        return Caller(claims.sub, claims.sid, claims.exp * 1000)


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

"""Log in and out. Which of user and password was wrong is not told, and can't be measured.

A wrong password counts against its user and against the address it came from; beyond a bound the next one is refused
unseen (429). A right one counts for nothing, so many people may log in from one address. Checks take their time: one
address gets only a part of the places in the queue for them.
"""

import asyncio
import ipaddress
from collections import Counter
from typing import Annotated, Any

import pydantic

from api import answers
from api.attempts import Attempts, loop_s
from api.calls import Call
from api.operations import Read
from api.tokens import Caller, Tokens
from api.writes import Writes
from core import limits, passwords
from core.action import Action, Request
from core.actions.fields import Device, UserId
from core.errors import Conflict, NotFound, Overloaded, TooMany, Unauthenticated
from stores.view import StoreView


def network(address: str) -> str:
    """Whom an address counts for: itself, or the 64 bits of an IPv6 one that a single customer gets."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))


class LoginRequest(Request):
    user: UserId
    password: Annotated[str, pydantic.Field(max_length=limits.TEXT_FIELD_CHARS_MAX)]
    device: Device


class Login:
    def __init__(
        self, view: StoreView, tokens: Tokens, writes: Writes, issue: type[Action], revoke: type[Action]
    ) -> None:
        self._view = view
        self._tokens = tokens
        self._writes = writes
        self._issue = issue
        self._revoke = revoke
        self._checks = asyncio.Semaphore(limits.PASSWORD_CHECKS_MAX)
        self._waiting = 0
        self._waiting_of: Counter[str] = Counter()
        remembered = limits.LOGINS_REMEMBERED_MAX
        self._of_user = Attempts(limits.LOGINS_FAILED_OF_USER, limits.LOGIN_USER_REFILL_S, remembered, loop_s)
        self._of_address = Attempts(limits.LOGINS_FAILED_OF_ADDRESS, limits.LOGIN_ADDRESS_REFILL_S, remembered, loop_s)

    def reads(self) -> list[Read]:
        return [
            Read(
                "login",
                "POST",
                "/v1/login",
                "Log in with a password; answers a token for all other calls",
                "A new session (token.issue) in this datacenter. Its tokens are signed and work in every datacenter at "
                "once, also before the session's row has arrived there.",
                self.login,
                answers.LoggedIn,
                LoginRequest,
                errors=(Conflict, Unauthenticated, TooMany, Overloaded),
                example={"user": "Uada", "password": "correct horse", "device": "phone"},
                public=True,
                writes=True,
            ),
            Read(
                "logout",
                "POST",
                "/v1/logout",
                "End this session",
                "As session.revoke: set once and never unset. Answered when another datacenter holds it durably, if "
                "one is reachable.",
                self.logout,
                answers.LoggedOut,
                errors=(NotFound,),
                writes=True,
            ),
        ]

    async def login(self, call: Call, request: LoginRequest) -> dict[str, Any]:
        found = await self._view.user(request.user)
        stored = found.password if found and found.password else passwords.NOBODYS
        await self._check(request, stored, network(call.address))
        fields = {"user": request.user, "device": request.device}
        caller = Caller(request.user, "", 0)
        answer = await self._writes.submit(self._issue, fields, caller, call.key, call.prefer)
        session, expires_ms = answer.body["session"], answer.body["expires_ms"]
        return {
            **self._tokens.first(session, request.user, expires_ms),
            "session": session,
            "user": request.user,
            "expires_ms": expires_ms,
        }

    async def _check(self, request: LoginRequest, stored: str, address: str) -> None:
        """Unauthenticated, TooMany, Overloaded. An attempt counts from its beginning, so that many at once count."""
        wait_s = max(self._of_user.wait_s(request.user), self._of_address.wait_s(address))
        if wait_s:
            raise TooMany("too many wrong passwords", retry_after_s=wait_s)
        counted = ((self._of_user, request.user), (self._of_address, address))
        for attempts, key in counted:
            attempts.take(key)
        wrong = False
        try:
            wrong = not await self._matches(request.password, stored, address)
        finally:
            if not wrong:
                for attempts, key in counted:
                    attempts.give_back(key)
        if wrong:
            raise Unauthenticated("user or password is wrong")

    async def _matches(self, password: str, stored: str, address: str) -> bool:
        if self._waiting_of[address] >= limits.PASSWORD_WAITING_OF_ADDRESS_MAX:
            raise TooMany("too many logins at a time", retry_after_s=1)
        if self._waiting >= limits.PASSWORD_WAITING_MAX:
            raise Overloaded("too many logins at a time", retry_after_s=2)
        self._waiting += 1
        self._waiting_of[address] += 1
        try:
            async with self._checks:
                return await asyncio.to_thread(passwords.matches, password, stored)
        finally:
            self._waiting -= 1
            self._waiting_of[address] -= 1
            if not self._waiting_of[address]:
                del self._waiting_of[address]

    async def logout(self, call: Call, _: Request) -> dict[str, Any]:
        session = call.caller.session
        answer = await self._writes.submit(
            self._revoke, {"session": session}, call.caller, call.key, call.prefer, call.position
        )
        return {**answer.body, "session": session, "durability": answer.durability}

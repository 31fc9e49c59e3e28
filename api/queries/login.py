"""Log in and out. Which of user and password was wrong is not told, and can't be measured."""

import asyncio
from typing import Annotated, Any

import pydantic

from api import answers
from api.calls import Call
from api.operations import Read
from api.tokens import Caller, Tokens
from api.writes import Writes
from core import limits, passwords
from core.action import Action, Request
from core.actions.fields import Device, UserId
from core.errors import Conflict, NotFound, Overloaded, Unauthenticated
from stores.view import StoreView

_NOBODYS = f"scrypt${'00' * passwords.SALT_BYTES}${'00' * 32}"
"""Costs as much to compare as a real one."""


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

    def reads(self) -> list[Read]:
        return [
            Read(
                "login",
                "POST",
                "/v1/login",
                "Log in with a password; answers a token for all other calls",
                "A new session (token.issue) in this datacenter. The token is signed and works in every datacenter at "
                "once, also before the session's row has arrived there.",
                self.login,
                answers.LoggedIn,
                LoginRequest,
                errors=(Conflict, Unauthenticated, Overloaded),
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
        stored = found.password if found and found.password else _NOBODYS
        if not await self._matches(request.password, stored):
            raise Unauthenticated("user or password is wrong")
        fields = {"user": request.user, "device": request.device}
        caller = Caller(request.user, "", 0)
        answer = await self._writes.submit(self._issue, fields, caller, call.key, call.prefer)
        session, expires_ms = answer.body["session"], answer.body["expires_ms"]
        return {
            "token": self._tokens.issue(session, request.user, expires_ms),
            "session": session,
            "user": request.user,
            "expires_ms": expires_ms,
        }

    async def _matches(self, password: str, stored: str) -> bool:
        if self._waiting >= limits.PASSWORD_WAITING_MAX:
            raise Overloaded("too many logins at a time", retry_after_s=2)
        self._waiting += 1
        try:
            async with self._checks:
                return await asyncio.to_thread(passwords.matches, password, stored)
        finally:
            self._waiting -= 1

    async def logout(self, call: Call, _: Request) -> dict[str, Any]:
        session = call.caller.session
        answer = await self._writes.submit(
            self._revoke, {"session": session}, call.caller, call.key, call.prefer, call.position
        )
        return {**answer.body, "session": session, "durability": answer.durability}

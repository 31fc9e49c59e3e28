"""New tokens for a session, for its refresh token. The rule of who may have them is core/refreshing.py."""

from typing import Annotated, Any

import pydantic

from api import answers
from api.attempts import Attempts, loop_s
from api.calls import Call
from api.operations import Read
from api.tokens import Caller, Tokens
from api.writes import Writes
from core import limits
from core.action import Action, Request
from core.errors import Conflict, NotFound, RefreshReused, TooMany, Unauthenticated
from core.refreshing import Use, use_of
from stores.view import StoreView


class RefreshRequest(Request):
    refresh_token: Annotated[str, pydantic.Field(max_length=limits.REFRESH_TOKEN_CHARS_MAX)]


class Refreshing:
    def __init__(self, view: StoreView, tokens: Tokens, writes: Writes, used: type[Action]) -> None:
        self._view = view
        self._tokens = tokens
        self._writes = writes
        self._used = used
        self._of_session = Attempts(
            limits.REFRESHES_OF_SESSION, limits.REFRESH_REFILL_S, limits.REFRESHES_REMEMBERED_MAX, loop_s
        )

    def reads(self) -> list[Read]:
        return [
            Read(
                "token.refreshed",
                "POST",
                "/v1/token/refresh",
                "New tokens for a refresh token, which is used up by it",
                "Which refresh token of a session was used last is kept (token.refresh). In every datacenter at once, "
                "and in several at a time that don't hear of each other: a token is good until what came of it has "
                "been used. So who lost an answer asks again, anywhere. When one comes after that, two have it: the "
                "session ends in every datacenter (refresh_reused).",
                self.refresh,
                answers.Refreshed,
                RefreshRequest,
                errors=(Conflict, NotFound, RefreshReused, TooMany, Unauthenticated),
                example={"refresh_token": "PR1.5f0c….…"},
                public=True,
                writes=True,
            )
        ]

    async def refresh(self, call: Call, request: RefreshRequest) -> dict[str, Any]:
        came = self._tokens.refresh(request.refresh_token)
        if wait_s := self._of_session.admit(came.session, 1):
            raise TooMany("this session is refreshed too often", retry_after_s=wait_s)
        row = await self._view.session(came.session)
        if row is not None and row.revoked:
            raise Unauthenticated("the session was revoked")
        use = use_of(came.place, row.used if row is not None else 0)
        if use is not Use.AGAIN:
            fields = {"session": came.session, "user": came.user, "used": came.place}
            prefer = "remote" if use is Use.STALE else call.prefer
            caller = Caller(came.user, came.session, 0)
            answer = await self._writes.submit(self._used, fields, caller, call.key, prefer)
            if answer.body["reused"]:
                raise RefreshReused()
        return {**self._tokens.after(came), "session": came.session, "user": came.user}

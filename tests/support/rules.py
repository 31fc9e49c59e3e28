"""A small world in which rules of actions are tried: what each allows, refuses and writes."""

from typing import Any

import pytest

from core.errors import PlanBError
from core.event import Event
from core.messages import Message
from tests.support.mesh import Mesh
from tests.support.view import members_of, message_of

A, B, C, D = USERS = ("Ua", "Ub", "Uc", "Ud")


class World(Mesh):
    """Two DCs, four users, a group of A (owner) and B, a supergroup of A and B."""

    def __init__(self, off_ms: tuple[int, ...] = ()) -> None:
        super().__init__(dcs=2, off_ms=off_ms)
        for user in USERS:
            self.write(0, "user.upsert", "sys", {"user": user, "name": user})
        group = {"kind": "group", "title": "g", "users": [B]}
        self.group = str(self.write(0, "group.create", A, group, key="g").args.chat)
        supergroup = {"kind": "supergroup", "title": "c", "users": [B]}
        self.supergroup = str(self.write(0, "supergroup.create", A, supergroup, key="c").args.chat)
        self.settle()

    def do(self, action: str, actor: str, *, dc: int = 0, key: str = "", **request: Any) -> Event:
        self.now_ms += 20
        fields = {name.rstrip("_"): value for name, value in request.items()}
        return self.write(dc, action, actor, fields, key=key, position=self.dcs[dc].position(actor))

    def refused(self, error: type[PlanBError], action: str, actor: str, *, dc: int = 0, **request: Any) -> None:
        before = len(self.events)
        with pytest.raises(error) as caught:
            self.do(action, actor, dc=dc, **request)
        assert type(caught.value) is error, caught.value
        assert len(self.events) == before

    def present(self, chat: str, dc: int = 0) -> set[str]:
        return {user for user, m in members_of(self.dcs[dc].state, chat).items() if m.present}

    def shown(self, event: Event, dc: int = 0) -> Message:
        message = message_of(self.dcs[dc].state.message_rows(), event.id)
        assert message is not None
        return message

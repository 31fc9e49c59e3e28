"""What an operator asks of single events: what lost, what an undo would write, what is known of one event."""

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from api.explained import Explainer, plain_args
from api.fields import query_of
from api.guard import Handler
from api.lost_writes import PARAMETERS, id_of, wanted_of
from api.reads import json_response
from api.sys_writes import SysWriteRoutes
from core.action import Action
from core.system import Clock
from replicator.collector import conflicts_since
from replicator.service import Replicator
from stores.apply import Applier
from stores.ports import RelationalStore
from stores.view import StoreView


class Deps(Protocol):
    """Of the internal listener's (api/sys_app.py)."""

    @property
    def replicator(self) -> Replicator: ...
    @property
    def applier(self) -> Applier: ...
    @property
    def relational(self) -> RelationalStore: ...
    @property
    def view(self) -> StoreView: ...
    @property
    def writes(self) -> SysWriteRoutes: ...
    @property
    def actions(self) -> Mapping[str, type[Action]]: ...
    @property
    def now_ms(self) -> Clock: ...


class Inquiries:
    """Handlers of calls that change nothing."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def table(self) -> list[tuple[str, str, Handler]]:
        """(method, path, handler)."""
        return [
            ("GET", "/sys/v1/conflicts", self._conflicts),
            ("GET", "/sys/v1/conflicts/undo", self._would_undo),
            ("GET", "/sys/v1/events/{event}", self._event),
        ]

    async def _conflicts(self, request: web.Request) -> web.Response:
        """Of the last 30 days (CONFLICTS_KEPT_S), the newest first; see api/lost_writes.py."""
        wanted = wanted_of(query_of(request, PARAMETERS), conflicts_since(self._deps.now_ms()))
        return json_response(await wanted.page(self._deps.relational, self._deps.view.event))

    async def _would_undo(self, request: web.Request) -> web.Response:
        """The arguments that `conflict.undo` would have now; refused as that would be."""
        action = self._deps.actions["conflict.undo"]
        fields = query_of(request, frozenset(action.Request.model_fields))
        return json_response({"args": plain_args(await self._deps.writes.would_write(action, fields))})

    async def _event(self, request: web.Request) -> web.Response:
        """What this datacenter knows of one event, also of one that it does not have."""
        query_of(request, frozenset())
        deps = self._deps
        explainer = Explainer(deps.replicator.names, deps.applier, deps.relational, deps.view, deps.actions)
        return json_response(await explainer.explain(id_of(request.match_info["event"], "event")))

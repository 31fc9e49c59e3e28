"""What a person is shown by production's public API over given stores: the questions of `final._fetched`."""

from collections.abc import Sequence
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from api.app import PARTS, PublicDeps, create_public_app
from core.system import entropy, wall_clock_ms
from tests.simulation.shown import everything
from tests.support.crash_site import ACTIONS, Life

KEY = b"a key that nobody else has"


async def shown_to(users: Sequence[str], life: Life) -> dict[str, Any]:
    """User -> the order of his dialogs, the dialogs, their histories."""
    app = create_public_app(
        PublicDeps(
            dc="dc0",
            key=KEY,
            actions=ACTIONS,
            lane_writer=None,  # type: ignore[arg-type]  # nobody writes
            view=life.view,
            hot=life.hot,  # type: ignore[arg-type]
            files=None,  # type: ignore[arg-type]  # nobody asks for one
            progress=life.applier.progress,
            clock=life.clock,
            epoch=lambda: life.applier.epoch,
            remote=None,  # type: ignore[arg-type]
            wall=wall_clock_ms,
            entropy=entropy,
        )
    )
    async with TestClient(TestServer(app)) as client:
        return {user: await _shown(client, app[PARTS].tokens.issue("s1", user, 2**42)) for user in users}


async def _shown(client: Any, token: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}

    async def get(path: str) -> Any:
        async with client.get(path, headers=headers) as answer:
            assert answer.status == 200, (path, await answer.text())
            return await answer.json()

    dialogs, histories = await everything(get)
    order = [dialog["conversation"] for dialog in dialogs if dialog["present"]]
    return {"order": order, "dialogs": {dialog["conversation"]: dialog for dialog in dialogs}, "messages": histories}

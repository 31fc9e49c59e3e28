"""Which web pages may call from a browser: those of the origins in the settings, and none by default."""

import pydantic
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api.cors import cors
from cli.settings import Public
from core import limits
from tests.support.api import api_dc

PAGE, OTHER = "https://chat.example.com", "https://evil.example.com"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/dialogs/Uada/messages", "/v1/stream/ticket", "/v1/nothing"])
async def test_a_page_that_is_named_is_told_before_it_has_a_token_what_it_may_send(path: str) -> None:
    async with api_dc(cors_origins=frozenset({PAGE})) as api:
        answer = await api.http.options(path, headers=ASKS | {"Origin": PAGE})
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert {"POST", "PUT", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        headers = {"Authorization", "Content-Type", "Idempotency-Key", "Prefer", "X-Clock", "X-Cursor"}
        assert set(answer.headers["Access-Control-Allow-Headers"].split(", ")) == headers
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_it_may_read_answers_and_errors_and_their_headers() -> None:
    async with api_dc(cors_origins=frozenset({PAGE})) as api:
        await api.sign_up("Uada")
        token = api.user("Uada").token
        for headers, status in (({"Authorization": f"Bearer {token}"}, 200), ({}, 401)):
            answer = await api.http.get("/v1/me", headers=headers | {"Origin": PAGE})
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert {"X-Clock", "Retry-After"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
            assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origins", [frozenset[str](), frozenset({PAGE})])
@pytest.mark.parametrize("origin", [OTHER, "null", PAGE.upper(), PAGE + ".evil.example.com", "*", ""])
async def test_another_page_is_told_nothing(origins: frozenset[str], origin: str) -> None:
    async with api_dc(cors_origins=origins) as api:
        preflight = await api.http.options("/v1/messages", headers=ASKS | {"Origin": origin})
        assert preflight.status == 405
        answer = await api.http.get("/v1/me", headers={"Origin": origin})
        assert answer.status == 401
        for one in (preflight, answer):
            assert not [name for name in one.headers if name.startswith("Access-Control-")]


async def test_options_without_a_preflight_s_question_are_no_preflight() -> None:
    async with api_dc(cors_origins=frozenset({PAGE})) as api:
        answer = await api.http.options("/v1/messages", headers={"Origin": PAGE})
        assert answer.status == 405


@pytest.mark.parametrize("origin", [PAGE, OTHER])
async def test_a_websocket_is_opened_whatever_its_page(origin: str) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    app = web.Application(middlewares=cors([PAGE]))
    app.router.add_get("/v1/stream", stream)
    async with TestClient(TestServer(app)) as client, client.ws_connect("/v1/stream", origin=origin) as socket:
        assert await socket.receive_str() == "hello"


@pytest.mark.parametrize(
    "wrong", ["*", "null", PAGE + "/", PAGE + "/app", PAGE.upper(), "chat.example.com", "https://*"]
)
def test_what_no_browser_calls_an_origin_is_no_setting(wrong: str) -> None:
    assert Public(port=1, cors_origins=[PAGE, "http://localhost:8000", "http://[::1]:8000"]).cors_origins
    with pytest.raises(pydantic.ValidationError):
        Public(port=1, cors_origins=[wrong])


def test_origins_are_bounded() -> None:
    with pytest.raises(pydantic.ValidationError):
        Public(port=1, cors_origins=[PAGE] * (limits.CORS_ORIGINS_MAX + 1))

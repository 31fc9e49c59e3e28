"""The public listener over HTTP: what clients do, and that it is consistent."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import ApiDc, api_dc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


async def test_a_user_logs_in_sends_and_the_other_reads(api: ApiDc) -> None:
    await api.sign_up("Uada", passwords=True)
    stranger = api.user("Unobody")
    login = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    answer = await stranger.ok("POST", "/v1/login", login, Authorization=None)
    ada = api.user("Uada")
    ada.token = answer["token"]
    assert (await ada.ok("GET", "/v1/me"))["id"] == "Uada"
    id = await ada.send("Ugrace", "Hello")
    grace = api.user("Ugrace")
    dialogs = await grace.ok("GET", "/v1/dialogs")
    assert [one["peer"]["user"]["id"] for one in dialogs["dialogs"]] == ["Uada"]
    assert dialogs["dialogs"][0]["top"]["text"] == "Hello"
    assert dialogs["dialogs"][0]["unread"] == 1
    history = await grace.ok("GET", "/v1/dialogs/Uada/messages")
    assert [message["id"] for message in history["messages"]] == [id]
    await grace.ok("POST", "/v1/dialogs/Uada/read", {"message": id, "cursor": dialogs["cursor"]})
    assert (await grace.ok("GET", "/v1/dialogs"))["dialogs"][0]["unread"] == 0


async def test_every_reference_in_the_openapi_document_leads_somewhere(api: ApiDc) -> None:
    document = await (await api.http.get("/openapi.json")).json()

    def check(part: object) -> None:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                found: object = document
                for name in part["$ref"].removeprefix("#/").split("/"):
                    assert isinstance(found, dict) and name in found, part["$ref"]
                    found = found[name]
            assert not {"ge", "le"} & part.keys(), "JSON Schema says minimum and maximum"
            for value in part.values():
                check(value)
        elif isinstance(part, list):
            for value in part:
                check(value)

    check(document)

"""Files and scheduled messages by both SDKs, against a datacenter in memory."""

import asyncio
import json

import pytest

from api.files import hash_of
from core.system import wall_clock_ms
from planb_sdk import ApiError, Client
from tests.support.api import ApiDc, api_dc
from tests.support.node_client import MODULE, node

DATA = bytes(range(256)) * 40


def url(at: ApiDc) -> str:
    return f"http://127.0.0.1:{at.http.port}"


async def test_the_python_sdk_puts_and_gets_files_and_has_messages_sent_later() -> None:
    async with api_dc() as at:
        await at.sign_up("Uada", "Ugrace")
        ada, grace = (Client([url(at)], at.user(user).token, user=user) for user in ("Uada", "Ugrace"))
        async with ada, grace:
            made = await ada.put_file(DATA, name="all.bin", type="image/png")
            assert (made.answer["sha256"], made.answer["type"]) == (hash_of(DATA), "image/png")
            assert (await ada.put_file(DATA, name="all.bin", type="image/png", key=made.key)).replayed
            assert await ada.file(hash_of(DATA)) == DATA
            sent = await ada.send("Ugrace", content={"kind": "file", "sha256": hash_of(DATA)})
            assert await grace.file(hash_of(DATA), message=sent.id) == DATA
            with pytest.raises(ApiError, match="no such file"):
                await grace.file(hash_of(DATA))
            at_ms = wall_clock_ms() + 60_000
            later = await ada.schedule("Ugrace", "later", at_ms=at_ms)
            [one] = await ada.scheduled()
            assert (one.scheduled, one.at_ms, one.failure) == (later.answer["scheduled"], at_ms, None)
            await ada.unschedule(one.scheduled)
            assert await ada.scheduled() == []


SCRIPT = """
const { Client } = await import(process.argv[2]);
const [url, token, at] = process.argv.slice(3);
const ada = new Client([url], token, { user: "Uada" });
const data = Uint8Array.from({ length: 10_240 }, (_, at) => at % 256);
const made = await ada.putFile(data, { name: "all.bin", type: "image/png" });
const back = await ada.file(made.answer.sha256);
const later = await ada.schedule("Ugrace", "later", { atMs: Number(at) });
const waiting = await ada.scheduled();
await ada.unschedule(later.answer.scheduled);
const left = await ada.scheduled();
const refused = await ada.file("0".repeat(64)).catch((error) => error.code);
console.log(JSON.stringify({
  sha256: made.answer.sha256, type: made.answer.type, same: Buffer.from(back).equals(Buffer.from(data)),
  later: later.answer.scheduled, waiting, left, refused,
}));
await ada.close();
"""


async def test_the_javascript_sdk_does_the_same() -> None:
    called = node()
    async with api_dc() as at:
        await at.sign_up("Uada", "Ugrace")
        at_ms = wall_clock_ms() + 60_000
        arguments = (MODULE.as_uri(), url(at), at.user("Uada").token, str(at_ms))
        process = await asyncio.create_subprocess_exec(
            *called,
            "--input-type=module",
            "-",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(SCRIPT.encode())
    found = json.loads(out)
    assert (found["sha256"], found["type"], found["same"]) == (hash_of(DATA), "image/png", True)
    assert [(one["scheduled"], one["at_ms"]) for one in found["waiting"]] == [(found["later"], at_ms)]
    assert (found["left"], found["refused"]) == ([], "not_found")

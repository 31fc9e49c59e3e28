"""Bytes that messages name: part of the client."""

from planb_sdk.account import Account, part
from planb_sdk.model import Receipt


class Files(Account):
    """A part of Client."""

    async def put_file(self, data: bytes, *, name: str = "", type: str = "", key: str = "") -> Receipt:
        """The answer's `sha256` is for the `content` of a message. The bytes are not kept in the outbox: what raises
        Unreachable is put again by the caller, under the same key."""
        key = key or self._key()
        query = {"name": name} if name else {}
        kind = type or "application/octet-stream"
        answer = await self._transport.call("POST", "/v1/files", query=query, key=key, data=data, kind=kind)
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        return Receipt(str(answer.body["id"]), key, "local", replayed, answer.body)

    async def file(self, sha256: str, *, message: str = "") -> bytes:
        """One that I have put, or that this message names."""
        query = {"message": message} if message else {}
        return (await self._transport.call("GET", f"/v1/files/{part(sha256)}", query=query, raw=True)).data

"""Files: their bytes are in object storage under their hash, and a row says who has put them there."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from core import action, limits
from core.action import Origin, Route
from core.actions.fields import Line, MediaType, Sha256
from core.errors import Invalid, Overloaded, TooLarge
from core.event import Event
from core.tables import Effect


class Put(action.Action):
    name = "file.put"
    summary = "Keep a file"
    consistency = (
        "Immutable under the hash of its bytes, which the server reckons: nothing is ever overwritten, and nothing "
        "dangles. The bytes are durable in the object storage of its datacenter before the row (insert) says so, and a "
        "datacenter that lacks them fetches them from that one, or any other, and keeps them. Who puts the same bytes "
        "again has them under the name and type of the first time."
    )
    route = Route("POST", "/v1/files", listener="bytes")
    example = {"sha256": "0" * 64, "bytes": 1, "type": "image/png", "name": "lunch.png"}
    answer = {"sha256": Sha256, "bytes": int, "type": MediaType, "name": str}
    errors = (Invalid, Overloaded, TooLarge)

    class Request(action.Request):
        """What is known of the bytes that came, beside what their sender calls them."""

        sha256: Sha256
        bytes: Annotated[int, Field(ge=0, le=limits.FILE_BYTES_MAX)]
        type: MediaType = "application/octet-stream"
        name: Line | None = None

    class Args(action.Args, frozen=True, kw_only=True):
        sha256: str
        bytes: int
        type: str
        name: str

    @staticmethod
    async def resolve(request: "Put.Request", origin: Origin) -> "Put.Args":
        kept = await origin.view.file(request.sha256, origin.actor)
        return Put.Args(
            sha256=request.sha256,
            bytes=request.bytes,
            type=kept.type if kept else request.type,
            name=kept.name if kept else request.name or "",
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Put.Args = event.args
        columns = {"bytes": args.bytes, "type": args.type, "name": args.name, "made": event.id}
        return (Effect("files", (args.sha256, event.actor), columns),)

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        args: Put.Args = event.args
        return {"sha256": args.sha256, "bytes": args.bytes, "type": args.type, "name": args.name}

"""Coordination in etcd: a session is a lease of etcd's, and what it holds are keys on that lease.

    <prefix>/members/<session>      what it says of itself     on its lease
    <prefix>/claims/<name>          who holds it               on its lease; the token is the key's create_revision
    <prefix>/datacenters/<number>   the map                    on none

A claim is taken by one transaction that puts the key where there is none. etcd's revisions only grow, so do the tokens.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from core import limits
from core.errors import Corrupt, LeaseLost, StoreUnavailable
from stores.adapters.etcd_gateway import EtcdGateway, LeaseNotFound, beyond, decoded, encoded
from stores.coordination import Datacenter, Held, Member, View, checked, datacenter_of, member_of, to_json

log = logging.getLogger(__name__)


class EtcdCoordination:
    """`prefix` is one datacenter's."""

    def __init__(self, gateway: EtcdGateway, prefix: str) -> None:
        self._etcd = gateway
        self._prefix = prefix
        self._leases: dict[str, str] = {}
        """Session -> its lease in etcd."""
        self._members: dict[str, Member] = {}
        """What sessions of ours say of themselves."""
        self._jitter = random.Random(prefix)

    async def open(self, member: Member, lease_ms: int) -> int | None:
        granted = await self._etcd.call("/v3/lease/grant", {"TTL": str(-(-lease_ms // 1_000))})
        self._leases[member.id] = str(granted["ID"])
        await self.announce(member)
        return int(granted["TTL"]) * 1_000

    async def renew(self, session: str) -> int | None:
        answer = await self._etcd.call("/v3/lease/keepalive", {"ID": self._lease(session)})
        ttl_s = int(answer["result"].get("TTL", 0))
        if ttl_s <= 0:
            del self._leases[session]
            raise LeaseLost("etcd has ended the lease")
        return ttl_s * 1_000

    async def end(self, session: str) -> None:
        lease = self._leases.get(session)
        if lease is None:
            return
        with contextlib.suppress(LeaseNotFound):
            await self._etcd.call("/v3/lease/revoke", {"ID": lease})
        self._leases.pop(session, None)

    async def announce(self, member: Member) -> None:
        await self._put(f"members/{member.id}", to_json(member), self._lease(member.id))
        self._members[member.id] = member

    async def take(self, session: str, name: str) -> Held:
        lease = self._lease(session)
        key = self._key(f"claims/{checked(name)}")
        compare = {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        put = {"key": key, "value": encoded(to_json(self._members[session])), "lease": lease}
        look = {"request_range": {"key": key}}
        body = {"compare": [compare], "success": [{"request_put": put}, look], "failure": [look]}
        answer = await self._with(session, "/v3/kv/txn", body)
        found = answer["responses"][-1]["response_range"]["kvs"][0]
        held = _held(name, found)
        if held.member.id == session and found.get("lease") != lease:
            raise LeaseLost(f"{name} is held by a lease that is not this session's any more")
        return held

    async def give(self, session: str, name: str) -> None:
        """Only a key on this session's lease: it may have gone to another one meanwhile."""
        key = self._key(f"claims/{checked(name)}")
        lease = self._leases.get(session)
        if lease is None:
            return
        compare = {"key": key, "target": "LEASE", "result": "EQUAL", "lease": lease}
        await self._etcd.call("/v3/kv/txn", {"compare": [compare], "success": [{"request_delete_range": {"key": key}}]})

    async def chart(self, datacenter: Datacenter) -> Datacenter:
        key = self._key(f"datacenters/{datacenter.number}")
        compare = {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        put = {"request_put": {"key": key, "value": encoded(to_json(datacenter))}}
        look = {"request_range": {"key": key}}
        body = {"compare": [compare], "success": [put, look], "failure": [look]}
        answer = await self._etcd.call("/v3/kv/txn", body)
        found = answer["responses"][-1]["response_range"]["kvs"][0]
        return datacenter_of(decoded(found["value"]), f"datacenters/{datacenter.number} in etcd")

    async def rechart(self, datacenter: Datacenter) -> None:
        await self._put(f"datacenters/{datacenter.number}", to_json(datacenter), "0")

    async def unchart(self, number: int) -> None:
        await self._etcd.call("/v3/kv/deleterange", {"key": self._key(f"datacenters/{number}")})

    async def look(self) -> View:
        return (await self._looked())[0]

    async def watch(self) -> AsyncIterator[View]:
        """Each time it is begun anew it reads everything, so it does not matter what it had missed."""
        seen: View | None = None
        failures = 0
        while True:
            try:
                view, revision = await self._looked()
                failures = 0
                if view != seen:
                    seen = view
                    yield view
                async with aclosing(self._etcd.watch(f"{self._prefix}/", revision + 1)) as changes:
                    async for _ in changes:
                        view, _ = await self._looked()
                        if view != seen:
                            seen = view
                            yield view
            except (StoreUnavailable, Corrupt) as error:
                if not failures:
                    log.warning("coordination can't be watched: %s", error)
                failures += 1
            ceiling_ms = min(limits.BACKOFF_MS_MAX, limits.BACKOFF_MS_FIRST << min(failures, 20))
            await asyncio.sleep(ceiling_ms * self._jitter.uniform(0.5, 1) / 1_000)

    async def close(self) -> None:
        """Sessions that were not ended end with their time."""
        await self._etcd.close()

    async def _looked(self) -> tuple[View, int]:
        """And etcd's revision at that moment."""
        whole = f"{self._prefix}/"
        answer = await self._etcd.call("/v3/kv/range", {"key": encoded(whole), "range_end": beyond(whole)})
        held: dict[str, Held] = {}
        members: dict[str, Member] = {}
        datacenters: dict[int, Datacenter] = {}
        for found in answer.get("kvs", []):
            kind, _, name = decoded(found["key"]).decode().removeprefix(whole).partition("/")
            where = f"{kind}/{name} in etcd"
            if kind == "claims":
                held[name] = _held(name, found)
            elif kind == "members":
                members[name] = member_of(decoded(found["value"]), where)
            elif kind == "datacenters":
                datacenter = datacenter_of(decoded(found["value"]), where)
                datacenters[datacenter.number] = datacenter
        return View(held, members, datacenters), int(answer["header"]["revision"])

    async def _put(self, name: str, value: bytes, lease: str) -> None:
        body = {"key": self._key(name), "value": encoded(value), "lease": lease}
        await self._with(name.rpartition("/")[2], "/v3/kv/put", body)

    async def _with(self, session: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A call on the lease of a session, if it is one's."""
        try:
            return await self._etcd.call(path, body)
        except LeaseNotFound:
            self._leases.pop(session, None)
            raise LeaseLost("etcd has ended the lease") from None

    def _lease(self, session: str) -> str:
        lease = self._leases.get(session)
        if lease is None:
            raise LeaseLost("the session is over")
        return lease

    def _key(self, name: str) -> str:
        return encoded(f"{self._prefix}/{name}")


def _held(name: str, found: dict[str, Any]) -> Held:
    return Held(name, int(found["create_revision"]), member_of(decoded(found["value"]), f"claims/{name} in etcd"))

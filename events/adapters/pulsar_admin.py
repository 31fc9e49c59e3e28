"""Pulsar's admin API, as far as the event log needs it: topics, ends, cursors, and the namespaces' rules.

Every call may be repeated. What Pulsar says is there already, or is gone, is no error.
"""

import asyncio
import json
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import aiohttp

from core.cause import cause_of
from core.errors import ConfigError, Corrupt, LogUnavailable
from events.adapters.pulsar_places import Place

CURSOR = "planb"
"""The subscription whose cursor says from where on a topic is kept."""
_ANSWER_S_MAX = 5.0
_MADE_S_MAX = 30.0
"""The first topics that a broker makes after its start take it seconds."""
_NEVER = {"inactiveTopicDeleteMode": "delete_when_no_subscriptions", "maxInactiveDurationSeconds": 3600}


class Admin:
    """One cluster's admin API. Raises LogUnavailable when it does not answer."""

    def __init__(self, url: str, tenant: str, *, token: str = "") -> None:
        self._base = f"{url.rstrip('/')}/admin/v2"
        self.tenant = tenant
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._session = aiohttp.ClientSession(headers=headers)

    async def close(self) -> None:
        await self._session.close()

    # -- topics

    async def topics(self, namespace: str) -> list[str]:
        """The names of a namespace's topics; [] where it does not exist."""
        found = await self.ask("GET", f"/persistent/{self.tenant}/{namespace}", missing=404) or []
        return [name.rpartition("/")[2] for name in found]

    async def make_topic(self, namespace: str, topic: str) -> None:
        """The topic, and the cursor that keeps its messages."""
        path = self._topic(namespace, topic)
        await self.ask("PUT", path, there=409, answer_s=_MADE_S_MAX)
        await self.ask("PUT", f"{path}/subscription/{CURSOR}", "earliest", there=409, answer_s=_MADE_S_MAX)

    async def last(self, namespace: str, topic: str) -> Place | None:
        """A topic's last message, if there is any."""
        found = await self.ask("GET", f"{self._topic(namespace, topic)}/lastMessageId", missing=404)
        return Place(found["ledgerId"], found["entryId"]) if found and found["entryId"] >= 0 else None

    async def kept_after(self, namespace: str, topic: str) -> tuple[Place, list[tuple[int, int]]]:
        """The message behind which a topic is kept, and its ledgers with the number of their entries."""
        stats = await self.ask("GET", f"{self._topic(namespace, topic)}/internalStats")
        cursor = stats["cursors"].get(CURSOR)
        if cursor is None:
            raise Corrupt(f"the topic {topic} has lost its cursor {CURSOR}: what nobody acknowledged may be deleted")
        ledgers = [(int(one["ledgerId"]), int(one["entries"])) for one in stats["ledgers"]]
        if ledgers:  # the last one is open, and its count is kept elsewhere
            ledgers[-1] = (ledgers[-1][0], int(stats["currentLedgerEntries"]))
        ledger, _, entry = cursor["markDeletePosition"].partition(":")
        return Place(int(ledger), int(entry)), ledgers

    async def keep_from(self, namespace: str, topic: str, place: Place) -> None:
        """Nothing before that message is needed any more."""
        where = {"ledgerId": place.ledger, "entryId": place.entry, "partitionIndex": -1}
        await self.ask("POST", f"{self._topic(namespace, topic)}/subscription/{CURSOR}/resetcursor", where)

    async def backlog(self, namespace: str, topic: str) -> tuple[int, int]:
        """Bytes that some cursor (ours, a replicator's) keeps in a topic, and how many there may be (-1: any)."""
        stats = await self.ask("GET", f"{self._topic(namespace, topic)}/stats")
        return int(stats["backlogSize"]), int(stats["backlogQuotaLimitSize"])

    # -- the whole cluster

    async def cluster(self) -> str:
        """The name of this cluster. ConfigError where it can't be told."""
        settings = await self.ask("GET", "/brokers/configuration/runtime")
        name = settings.get("clusterName")
        if not name:
            raise ConfigError("this Pulsar does not tell the name of its cluster")
        return str(name)

    async def make_namespace(self, namespace: str, clusters: Collection[str]) -> None:
        """A namespace that keeps what is not acknowledged for as long as it takes, replicated to `clusters`, this one
        among them, from now on. Other settings of it are left as they are."""
        path = f"/namespaces/{self.tenant}/{namespace}"
        allowed, replicated = {"allowedClusters": sorted(clusters)}, {"replication_clusters": sorted(clusters)}
        await self.ask("PUT", f"/tenants/{self.tenant}", allowed, there=409, answer_s=_MADE_S_MAX)
        await self.ask("PUT", path, replicated, there=409, answer_s=_MADE_S_MAX)
        await self.ask("POST", f"{path}/inactiveTopicPolicies", _NEVER | {"deleteWhileInactive": False})
        await self.ask("POST", f"{path}/retention", {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0})
        await self.ask("POST", f"{path}/messageTTL", 0)
        await self.ask("POST", f"{path}/subscriptionExpirationTime", 0)

    async def limit_backlog(self, namespace: str, size_bytes: int) -> None:
        """Beyond it the broker refuses writes, rather than let them hang."""
        quota = {"limitSize": size_bytes, "limitTime": -1, "policy": "producer_exception"}
        await self.ask("POST", f"/namespaces/{self.tenant}/{namespace}/backlogQuota", quota)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        there: int = 0,
        missing: int = 0,
        answer_s: float = _ANSWER_S_MAX,
    ) -> Any:
        """The answer's JSON, or None where there is none, or its status is `there` or `missing`."""
        text = await self.text(path, method, body, there=there, missing=missing, answer_s=answer_s)
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise LogUnavailable(
                "The event log is not reachable", private=f"{method} {path}: {text[:300]!r} is no JSON"
            ) from error

    async def text(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        *,
        there: int = 0,
        missing: int = 0,
        answer_s: float = _ANSWER_S_MAX,
    ) -> str:
        """The answer as it is; "" where its status is `there` or `missing`."""
        try:
            timeout = aiohttp.ClientTimeout(total=answer_s)
            async with self._session.request(method, self._base + path, json=body, timeout=timeout) as answer:
                text = await answer.text()
                if answer.status in (there, missing):
                    return ""
                if answer.status in (401, 403):
                    raise ConfigError("Pulsar's admin API refuses us", private=f"{method} {path}: {text[:300]}")
                if answer.status >= 400:
                    raise LogUnavailable(private=f"{method} {path}: {answer.status} {text[:300]}")
                return text
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise LogUnavailable(
                "The event log is not reachable", private=f"{method} {path}: {cause_of(error)}"
            ) from error

    def _topic(self, namespace: str, topic: str) -> str:
        return f"/persistent/{quote(self.tenant)}/{quote(namespace)}/{quote(topic)}"


async def reachable(host: str, port: int, connect_s: float) -> bool:
    """Whether anybody listens there."""
    try:
        async with asyncio.timeout(connect_s):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

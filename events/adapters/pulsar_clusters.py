"""Which clusters replicate what to whom: a datacenter's own lanes, from its cluster to the others', one way.

Replication is set up in the origin's own cluster only. In the others the namespace is there, and belongs to nobody but
the replicator. Every step may be repeated.
"""

import asyncio
from typing import Any, NamedTuple

from core.errors import LogUnavailable
from events.adapters.pulsar import namespaces
from events.adapters.pulsar_admin import CURSOR, Admin

_ENDED_S_MAX = 30.0
_LOOK_S = 0.1


class Cluster(NamedTuple):
    """Another datacenter's, as our brokers reach it."""

    name: str
    broker_url: str
    admin_url: str
    listener: str = ""
    """Of its advertised listeners: the one that is meant for us. "": it has one address for all."""


class Backlog(NamedTuple):
    """What of a lane has not arrived."""

    lane: int
    messages: int


async def add(admin: Admin, dc: int, other: int, cluster: Cluster) -> list[str]:
    """Our lanes go to that cluster, from their beginning as far as the log has it; theirs are awaited here. The names
    of all clusters that ours go to. Where they should have gone there already and do not, they begin anew."""
    ours = await admin.cluster()
    reached = {"serviceUrl": cluster.admin_url, "brokerServiceUrl": cluster.broker_url}
    if cluster.listener:
        reached["listenerName"] = cluster.listener
    await admin.ask("PUT", f"/clusters/{cluster.name}", reached, there=409)
    await admin.ask("POST", f"/clusters/{cluster.name}", reached)
    # Else a topic that is replicated late ships only what is new.
    await admin.ask("POST", "/brokers/configuration/replicationStartAt/earliest")
    await _allow(admin, cluster.name)
    own, _ = namespaces(dc)
    theirs, _ = namespaces(other)
    await admin.make_namespace(theirs, [ours])
    await admin.make_namespace(own, [ours])
    to = {*await replicated(admin, dc), ours, cluster.name}
    if not await _works(admin, own, cluster.name):
        await _replicate(admin, own, to - {cluster.name})
        await _ended(admin, own, cluster.name)
    return await _replicate(admin, own, to)


async def remove(admin: Admin, dc: int, cluster: str) -> list[str]:
    """Nothing goes to that cluster any more; who else gets our lanes."""
    own, _ = namespaces(dc)
    return await _replicate(admin, own, {*await replicated(admin, dc)} - {cluster})


async def replicated(admin: Admin, dc: int) -> list[str]:
    """The clusters that a datacenter's lanes are in, by its namespace here; [] where it has none."""
    own, _ = namespaces(dc)
    found = await admin.ask("GET", f"/namespaces/{admin.tenant}/{own}/replication", missing=404)
    return sorted(found or [])


async def outgoing(admin: Admin, dc: int, cluster: str) -> list[Backlog]:
    """Lanes of ours that go to that cluster, and of which it lacks something. One that has no replicator yet lacks
    all."""
    own, _ = namespaces(dc)
    found: list[Backlog] = []
    if cluster not in await replicated(admin, dc):
        return found
    for topic in await _lanes(admin, own):
        path = f"/persistent/{admin.tenant}/{own}/{topic}"
        replication = (await admin.ask("GET", f"{path}/stats"))["replication"].get(cluster)
        if replication:
            messages = int(replication["replicationBacklog"])
        else:
            messages = int((await admin.ask("GET", f"{path}/internalStats"))["numberOfEntries"])
        if messages:
            found.append(Backlog(_number(topic), messages))
    return found


async def incoming(admin: Admin, other: int) -> list[Backlog]:
    """Lanes of another datacenter of which something came here that was not taken yet."""
    theirs, _ = namespaces(other)
    found = []
    for topic in await _lanes(admin, theirs):
        stats = await admin.ask("GET", f"/persistent/{admin.tenant}/{theirs}/{topic}/stats")
        subscription = stats["subscriptions"].get(CURSOR)
        messages = int(subscription["msgBacklog"]) if subscription else 0
        if messages:
            found.append(Backlog(_number(topic), messages))
    return found


async def _lanes(admin: Admin, namespace: str) -> list[str]:
    return sorted(topic for topic in await admin.topics(namespace) if topic.startswith("lane-"))


def _number(topic: str) -> int:
    return int(topic.rpartition("-")[2])


async def _allow(admin: Admin, cluster: str) -> None:
    tenant = await admin.ask("GET", f"/tenants/{admin.tenant}", missing=404)
    if tenant is None:
        tenant = {"adminRoles": [], "allowedClusters": [await admin.cluster()]}
        await admin.ask("PUT", f"/tenants/{admin.tenant}", tenant, there=409)
    allowed = sorted({*tenant["allowedClusters"], cluster})
    await admin.ask("POST", f"/tenants/{admin.tenant}", tenant | {"allowedClusters": allowed})


async def _works(admin: Admin, namespace: str, cluster: str) -> bool:
    """Whether each replicator to that cluster, if there is any, is connected. One that came upon a cluster without the
    namespace, because it had lost everything, is not, and never tries again (Pulsar 4.0.8)."""
    return all(
        replication[cluster]["connected"]
        for replication in await _replications(admin, namespace)
        if cluster in replication
    )


async def _ended(admin: Admin, namespace: str, cluster: str) -> None:
    """Returns when no replicator to that cluster is left: else who asks for one again would keep the old one.
    LogUnavailable if that takes too long."""
    deadline_s = asyncio.get_running_loop().time() + _ENDED_S_MAX
    while any(cluster in replication for replication in await _replications(admin, namespace)):
        if asyncio.get_running_loop().time() > deadline_s:
            raise LogUnavailable(f"Pulsar does not end the replication to {cluster}")
        await asyncio.sleep(_LOOK_S)


async def _replications(admin: Admin, namespace: str) -> list[dict[str, Any]]:
    """Of each lane: cluster -> what its replicator does."""
    paths = [f"/persistent/{admin.tenant}/{namespace}/{topic}" for topic in await _lanes(admin, namespace)]
    return [(await admin.ask("GET", f"{path}/stats"))["replication"] for path in paths]


async def _replicate(admin: Admin, namespace: str, clusters: set[str]) -> list[str]:
    wanted = sorted(clusters)
    await admin.ask("POST", f"/namespaces/{admin.tenant}/{namespace}/replication", wanted)
    return wanted

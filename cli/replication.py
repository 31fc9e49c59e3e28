"""`planb dc add|remove`: whether our Pulsar brings this datacenter's lanes to another one's.

One way, so the other one's operator does the same there. Pulling between datacenters goes on with it and without it.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli import event_log
from cli import settings as configuration
from cli.settings import Settings
from cli.snapshots import names_of
from core.errors import ConfigError, Conflict, NotFound

if TYPE_CHECKING:
    from events.adapters.pulsar_clusters import Backlog


async def run(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """What is replicated afterwards. Repeatable. NotFound, ConfigError, LogUnavailable; Conflict where a remove would
    leave something behind."""
    settings = configuration.load(args.config)
    if not settings.stores.on_pulsar:
        raise ConfigError(
            f"{args.config}: stores.log_url names no Pulsar; datacenters on Valkey pull, and need nothing"
        )
    peer = settings.peers.get(name)
    if peer is None:
        raise NotFound(f"there is no {name} under [peers] in {args.config}")
    if peer.pulsar is None:
        raise ConfigError(f"{args.config}: peers.{name}.pulsar does not say which cluster it has")
    from events.adapters import pulsar_clusters as clusters
    from events.adapters.pulsar_admin import Admin

    pulsar = settings.stores.pulsar
    assert pulsar.admin_url is not None
    admin = Admin(pulsar.admin_url, pulsar.tenant, token=event_log.token(settings))
    try:
        if args.verb == "add":
            cluster = clusters.Cluster(**peer.pulsar.model_dump(exclude={"cluster"}), name=peer.pulsar.cluster)
            sent_to = await clusters.add(admin, settings.dc.number, peer.number, cluster)
        else:
            if not args.lose:
                _refuse(
                    name,
                    settings,
                    await clusters.outgoing(admin, settings.dc.number, peer.pulsar.cluster),
                    await clusters.incoming(admin, peer.number),
                )
            sent_to = await clusters.remove(admin, settings.dc.number, peer.pulsar.cluster)
    finally:
        await admin.close()
    done = {"ok": True, "dc": name, "cluster": peer.pulsar.cluster, "lanes_are_in": sent_to}
    return done | _next(args.verb, name)


def _refuse(name: str, settings: Settings, outgoing: Sequence["Backlog"], incoming: Sequence["Backlog"]) -> None:
    lane = names_of(settings).lane
    parts = [f"{name} has not got {backlog.messages} groups of {lane(backlog.lane)}" for backlog in outgoing] + [
        f"{backlog.messages} groups of {lane(backlog.lane)} are here and not taken yet" for backlog in incoming
    ]
    if parts:
        raise Conflict(
            f"{'; '.join(parts)}. Wait until they are through, or leave them to pulling: --lose",
            outgoing={lane(one.lane): one.messages for one in outgoing},
            incoming={lane(one.lane): one.messages for one in incoming},
        )


def _next(verb: str, name: str) -> dict[str, str]:
    return {"next": f"the same in {name}, for its own lanes"} if verb == "add" else {}

"""Where the processes of this datacenter meet: a folder, or etcd."""

from collections import Counter

from cli import coordination
from cli.checks.notes import Notes
from cli.settings import Settings
from core.errors import ConfigError, PlanBError
from core.system import entropy, steady_clock_ms
from stores.coordination import PROCESS, Coordination


async def processes(settings: Settings, notes: Notes) -> None:
    found = settings.coordination
    if found.etcd_endpoints:
        await _etcd(settings, notes)
        return
    folder = found.folder(settings.stores.data_dir)
    if not folder.is_dir():
        notes.ok(f"folder {folder}: nobody has met there yet, it is made by the first start")
        return
    meeting = coordination.opened(found, settings.dc.name, settings.stores.data_dir)
    try:
        await _who(meeting, f"folder {folder}", notes)
    except PlanBError as error:
        notes.failed(error, f"a folder that this user may write in: {folder}")
    finally:
        await meeting.close()


async def _who(meeting: Coordination, where: str, notes: Notes) -> None:
    view = await meeting.look()
    held = view.held.get(PROCESS)
    runs = f"{held.member.place} runs it" if held else "nobody runs it"
    others = Counter(
        f"{one.role} {one.state}" for one in view.members.values() if held is None or one.id != held.member.id
    )
    beside = ", ".join(f"{count} {what}" for what, count in sorted(others.items()))
    notes.ok(f"{where}: {runs}{f'; beside it {beside}' if beside else ''}")


async def _etcd(settings: Settings, notes: Notes) -> None:
    from stores.adapters.etcd_gateway import EtcdGateway, Refused, encoded

    found = settings.coordination
    gateway = EtcdGateway(coordination.etcd_place(found))
    prefix = f"{found.etcd_prefix}/{settings.dc.name}"
    try:
        began = steady_clock_ms()
        status = await gateway.call("/v3/maintenance/status", {})
        took_ms = steady_clock_ms() - began
        notes.ok(f"etcd {status.get('version')} at {gateway.place}, {took_ms} ms")
        if status.get("leader", "0") == "0":
            notes.down("it has no leader: most of its members are down", "start them")
        if status.get("errors"):
            said = ", ".join(map(str, status["errors"]))
            notes.down(f"it says: {said}", "etcdctl alarm list; make room, then etcdctl alarm disarm")
        # A lease with a key on it, as a process has; the key goes with the lease.
        lease = await gateway.call("/v3/lease/grant", {"TTL": str(-(-found.lease_ms // 1_000))})
        try:
            key = encoded(f"{prefix}/probe/{entropy(8).hex()}")
            await gateway.call("/v3/kv/put", {"key": key, "value": encoded(b"probe"), "lease": lease["ID"]})
            alive = await gateway.call("/v3/lease/keepalive", {"ID": lease["ID"]})
        finally:
            await gateway.call("/v3/lease/revoke", {"ID": lease["ID"]})
        granted_s = int(alive["result"].get("TTL", 0))
        fact = f"a lease of {found.lease_s:g} s is granted for {granted_s} s and renewed (tried, and given back)"
        if granted_s * 1_000 < found.lease_ms:
            notes.warning(fact, "etcd's --max-ttl, or a shorter coordination.lease_s")
        else:
            notes.ok(fact)
    except PlanBError as error:
        if isinstance(error.__cause__, Refused):
            error = ConfigError(error.detail, private=error.private)
            notes.failed(error, f"coordination.etcd_user with readwrite on {prefix}/, and its password file")
        else:
            notes.failed(error, "start it; coordination.etcd_endpoints names its client ports")
        return
    finally:
        await gateway.close()
    meeting = coordination.opened(found, settings.dc.name, settings.stores.data_dir)
    try:
        await _who(meeting, f"{prefix}/", notes)
    finally:
        await meeting.close()

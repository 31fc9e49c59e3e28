"""What has to be true once no fault is left."""

import asyncio
import contextlib
import json
from collections.abc import Iterable
from typing import Any

from core import ids, limits
from core.action import registry
from core.clock import HybridClock
from core.errors import Conflict, Undecodable
from core.event import Event
from core.fold import State
from core.tables import ALL_TABLES
from events.codec import codec
from events.ports import Trimmed
from planb_sdk import ApiError
from planb_sdk.errors import PlanBError as SdkError
from snapshot import dump
from snapshot import restore as restoring
from snapshot.archive import Archive
from snapshot.manifest import list_snapshots
from snapshot.past import LogWithPast
from stores.apply import Applier
from stores.digest import Digest, digest, digest_of
from stores.view import StoreView
from tests.simulation import decided, rules
from tests.simulation.disks import Disks
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.network import Session
from tests.simulation.oracle import FIELDS, Oracle
from tests.simulation.poison import hopeless
from tests.simulation.shown import everything
from tests.simulation.watching import registry_effects

LATER_S_MAX = 180
"""Until the last scheduled message is due, and overdue where its home has lost it."""
ROUNDS_MAX = 10
"""Of retries and drops, until nothing is parked."""


async def judge(world: Any) -> None:
    """Raises Violation for the first thing that is not as promised."""
    await world.until(lambda: world.even() or stale(world), "convergence")
    await _mend_logs(world)
    await _retry_parked(world)
    await world.until(world.even, "convergence after the upgrade")
    await _settle_clients(world)
    await world.until(world.even, "convergence after what was sent again")
    await world.until(lambda: not _waiting(world) and world.even(), "the sending of what was scheduled", LATER_S_MAX)
    world.look()
    await _digests(world)
    await _promises(world)
    _sent_again(world)
    await _finality(world)
    await _sessions(world)
    _fed_once(world)
    await _clients(world)
    await _regions(world)
    await _snapshots(world)
    world.look()


def _waiting(world: Any) -> list[Any]:
    """Scheduled messages of which some datacenter does not know what became."""
    return [
        key
        for home in world.homes.values()
        for key, cells in home.disks.relational._fold.tables.get("scheduled", {}).items()
        if "made" in cells and "done" not in cells
    ]


def where(world: Any) -> dict[str, Any]:
    """How far each datacenter is."""
    found = {}
    for name, home in world.homes.items():
        if home.dc is None or home.process.dead or not hasattr(home.dc, "serving"):
            found[name] = f"down ({home.process.name}, frozen {home.process.frozen})"
            continue
        found[name] = {
            "applied": {lane: mark.seq for lane, mark in home.dc.applier.progress.applied.items()},
            "log": {lane: held.top.seq for lane, held in home.disks.log._lanes.items()},
            "serving": home.serving,
            "missing": {n: await_now(check) for n, check in home.dc.serving.checks.items()},
            "blocked": {lane: b.reason for lane, b in home.dc.replicator.replayer.blocked.items()},
            "links": {loop.name: loop.error for loop in home.dc.replicator.loops},
            "forked": {lane: state.forked for lane, state in home.dc.replicator.intake.lanes().items() if state.forked},
        }
    return found


def await_now(check: Any) -> str:
    """A check that never really waits."""
    work = check()
    try:
        work.send(None)
    except StopIteration as done:
        return str(done.value)
    work.close()
    return "?"


def stale(world: Any) -> list[Any]:
    """Datacenters whose stores hold what no log holds, or whose log lacks what their archive has, when all else is
    done: their log has lost its end for good."""
    tops = world.tops()
    found = []
    for home in world.homes.values():
        if not home.serving:
            return []
        applied = {lane: mark.seq for lane, mark in home.dc.applier.progress.applied.items()}
        if any(applied.get(lane, 0) < seq for lane, seq in tops.items()):
            return []
        if home.name in world.lost_with and any(seq > tops.get(lane, 0) for lane, seq in applied.items()):
            found.append(home)
    return found


async def _mend_logs(world: Any) -> None:
    """Operators see digests differ, and rebuild what is not the fold of its lanes."""
    for home in stale(world):
        world.counts["rebuilt because of a torn log"] += 1
        await world.faults.burn(home)
        await world.faults.rebuilt(home)
    await world.until(world.even, "convergence after a torn log")


async def _retry_parked(world: Any) -> None:
    """Now that every version knows every action: what can be applied is, and the rest is dropped by everybody."""
    for _ in range(ROUNDS_MAX):
        places: dict[tuple[int, int], None] = {}
        for home in world.homes.values():
            if await home.disks.relational.parked():
                await world.sys(home, "POST", "/sys/v1/parked/retry", {})
            for left in await home.disks.relational.parked():
                places[left.lane, left.seq] = None
        if not places:
            return
        for lane, seq in places:
            for home in world.homes.values():
                await world.faults.give_word(home, lane, seq)
            world.counts["dropped in the end"] += 1
        await asyncio.sleep(1)
        await world.until(world.even, "convergence after a drop")
    raise Violation(f"still parked: {[await home.disks.relational.parked() for home in world.homes.values()]}")


async def _settle_clients(world: Any) -> None:
    """Everything in an outbox is sent, and sent again where a datacenter lost it."""
    users = list(world.users.values())
    await world.until(lambda: all(not user.busy for user in users), "the end of all calls", 200.0)
    done = [world.loop.start(user.process, _settled(user), f"{user.name} settles") for user in users]
    await world.until(lambda: all(task.done() for task in done), "an empty outbox", 300.0)
    for task in done:
        task.result()


async def _settled(user: Any) -> None:
    while True:
        try:
            await user.client.settled()
        except ApiError:
            await asyncio.sleep(0.5)
        except SdkError:
            await asyncio.sleep(0.5)
        else:
            return


async def _held(world: Any) -> set[int]:
    """The ids of all records that some datacenter can give: from its log or, where that was trimmed, its archive."""
    held = set()
    for home in world.homes.values():
        log = home.disks.log
        past = LogWithPast(log, Archive(home.disks.bucket))
        for lane in await log.tops():
            after = 0
            while True:
                try:
                    records = await past.read(lane, after, limits.SEGMENT_RECORDS_MAX)
                except Trimmed as trimmed:
                    if not trimmed.first:
                        break
                    after = trimmed.first - 1
                    continue
                if not records:
                    break
                held |= {record.id for record in records}
                after = records[-1].seq
    return held


def _dropped(world: Any, held: Iterable[int]) -> set[int]:
    """Of these events, those that they say to be dropped."""
    places = rules.dropped(event for id in held if (event := world.watching.events.get(id)) is not None)
    records = world.ledger.records
    return {records[place].id for place in places if place in records}


async def _digests(world: Any) -> None:
    """All datacenters hold the fold of all lanes, and nothing else."""
    world.watching.learn()
    fold = State()
    held = await _held(world)
    dropped = _dropped(world, held)
    for id in sorted(held - dropped):
        event = world.watching.events.get(id)
        if event is not None:
            for effect in registry_effects(event):
                fold.apply(id, effect)
    wanted = digest_of({name: fold.rows(name, {}) for name in ALL_TABLES})
    for home in world.homes.values():
        await home.dc.messages.flush()
        found: Digest = await digest(home.disks.relational, home.disks.messages)
        if found.total != wanted.total:
            raise Violation(f"{home.name} is not the fold of its lanes: {found.differences(wanted)}")


async def _promises(world: Any) -> None:
    """No acknowledged write is lost; what only a burnt datacenter held under `local` may be."""
    held = await _held(world)
    for id, event in world.watching.events.items():
        if id not in held:
            world.lost[id] = event
            if world.dc_of(id) not in world.lost_with:
                raise Violation(f"an event is gone, and no disk was lost: {event}")
    for made in world.promises:
        if made.id in world.lost:
            world.counts["acknowledged, lost with its datacenter"] += 1
            # `remote` bears the loss of one datacenter.
            if made.durability != "local" and len(set(world.lost_with)) < 2:
                raise Violation(f"acknowledged as {made.durability} and lost: {made}")


def _sent_again(world: Any) -> None:
    """What a datacenter took with it, the app that wrote it has sent again under its key, if it still runs."""
    if len(world.lost_with) != 1 or world.counts["fault: torn log"]:
        return  # what two disasters take, an app may have believed to be safe
    held = {(event.actor, event.key) for id, event in world.watching.events.items() if id not in world.lost}
    for made in world.promises:
        user = world.users[made.user]
        event = world.lost.get(made.id)
        if event is None or (made.user, made.key) in held or made.app != user.apps or user.client.stats.evicted:
            continue
        if event.action == "message.send" and event.args.conversation.startswith("D"):
            raise Violation(f"lost with its datacenter and never sent again: {made}")


async def _finality(world: Any) -> None:
    """Kicks, recalls and the like are final, by rules of their own."""
    events = [event for id, event in sorted(world.watching.events.items()) if id not in world.lost]
    chats, gone, ended = rules.chats(events), rules.recalled(events), rules.revoked(events)
    _decided(world)
    for home in world.homes.values():
        view = home.dc.view
        if forked := {n: state.forked for n, state in home.dc.replicator.intake.lanes().items() if state.forked}:
            raise Violation(f"{home.name}: lanes are forked: {forked}")
        for name, chat in chats.items():
            present = (await view.roll(name)).present
            for user in {*chat.adds, *chat.kicks}:
                here = user in present
                if here != chat.present(user):
                    raise Violation(f"{home.name}: {user} is {'' if here else 'not '}a member of {name}")
            if (found := await view.chat(name)) is not None and found.dissolved != chat.dissolved:
                raise Violation(f"{home.name}: {name} lives")
        for id, message in (await view.messages(gone)).items():
            if message.text is not None or not message.recalled:
                raise Violation(f"{home.name}: message {id} was recalled, and says {message.text}")
        for session in ended:
            if (row := await view.session(session)) is not None and not row.revoked:
                raise Violation(f"{home.name}: session {session} lives")


def _decided(world: Any) -> None:
    """Nothing was taken at an origin that knew better."""
    membership: dict[str, list[Event]] = {}
    for event in world.watching.events.values():
        if event.action in decided.MEMBERSHIP:
            membership.setdefault(event.args.chat, []).append(event)
    for event in world.watching.events.values():
        group = membership.get(getattr(event.args, "conversation", ""), [])
        if why := decided.accepted_from_outside(event, group):
            raise Violation(f"event {event.id}: {why}")


async def _sessions(world: Any) -> None:
    """A token whose session was revoked is worth nothing anywhere, every other is."""
    ended = rules.revoked(event for id, event in world.watching.events.items() if id not in world.lost)
    opened = {
        event.args.session
        for id, event in world.watching.events.items()
        if event.action == "token.issue" and id not in world.lost
    }
    for user in world.users.values():
        for session, token in user.spares:
            for home in world.homes.values():
                task = world.loop.start(user.process, _let_in(world, home.name, token), "ghost")
                if await task != (session in opened and session not in ended):
                    raise Violation(
                        f"{home.name}: session {session} of {user.name} is {'' if session in ended else 'not '}over"
                    )


async def _let_in(world: Any, region: str, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    async with Session(world.network).request("GET", f"http://{region}:1/v1/me", headers=headers) as answer:
        if answer.status not in (200, 401):
            raise Violation(f"a token is answered {answer.status} by {region}")
        return bool(answer.status == 200)


def _fed_once(world: Any) -> None:
    """No list holds an update twice."""
    for home in world.homes.values():
        for owner, updates in home.disks.hot._state.owners.items():
            seen = [(feed.event, feed.entry) for feed in updates.feeds]
            if len(seen) != len(set(seen)):
                twice = next(one for one in seen if seen.count(one) > 1)
                raise Violation(f"{home.name}: {owner} was fed {twice} twice")


async def _regions(world: Any) -> None:
    """Every region shows everybody the same, each message once, and what follows from the events."""
    oracle = Oracle(event for id, event in world.watching.events.items() if id not in world.lost)
    for user in world.users.values():
        shown = {}
        for home in world.homes.values():
            task = world.loop.start(user.process, _fetched(world, user, home.name), f"{user.name} at {home.name}")
            shown[home.name] = await task
        first, *others = shown.items()
        for name, one in others:
            if one != first[1]:
                raise Violation(f"{user.name}: {first[0]} and {name} show {differences(first[1], one)}")
        for conversation, messages in first[1]["messages"].items():
            keys = [(message["from"], message["key"] or message["id"]) for message in messages]
            if len(set(keys)) != len(keys):
                raise Violation(f"{user.name} is shown a message of {conversation} twice: {keys}")
        _as_told(oracle, user.name, first[1])


def _as_told(oracle: Oracle, user: str, shown: dict[str, Any]) -> None:
    """Histories and unread counts, against a reckoning of their own."""
    for conversation, dialog in shown["dialogs"].items():
        wanted = oracle.history(user, conversation)
        found = [{name: one.get(name, []) for name in FIELDS} for one in shown["messages"][conversation]]
        if found != wanted:
            raise Violation(f"{user} is shown a history that is not what happened: {differences(found, wanted)}")
        unread = oracle.unread(user, conversation) if dialog["present"] else 0
        if dialog["unread"] != unread and not dialog["unread_more"]:
            raise Violation(f"{user}: {conversation} has {unread} unread, and says {dialog['unread']}")


async def _fetched(world: Any, user: Any, region: str) -> dict[str, Any]:
    """Dialogs and histories of one region."""
    dialogs, histories = await everything(lambda path: _get(world, user, region, path))
    order = [dialog["conversation"] for dialog in dialogs]
    return {"order": order, "dialogs": {dialog["conversation"]: dialog for dialog in dialogs}, "messages": histories}


async def _get(world: Any, user: Any, region: str, path: str) -> Any:
    for _ in range(60):
        headers = {"Authorization": f"Bearer {user.token}"}
        async with Session(world.network).request("GET", f"http://{region}:1{path}", headers=headers) as answer:
            if answer.status == 200:
                return json.loads(await answer.read())
            if answer.status not in (409, 503):
                raise Violation(f"{user.name}: {path} at {region}: {answer.status} {await answer.read()!r}")
        await asyncio.sleep(1)
    raise Violation(f"{user.name}: {path} at {region} is not answered")


async def _snapshots(world: Any) -> None:
    """What is listed can be restored: the newest of each bucket, on disks of its own."""
    for home in world.homes.values():
        bucket = home.disks.bucket
        listed = await list_snapshots(bucket)
        for id in listed:
            if damages := await dump.verify(id, objects=bucket, archive=Archive(bucket)):
                raise Violation(f"{home.name}: snapshot {id}: {damages}")
        if listed:
            await _restored(world, home, listed[-1])


async def _restored(world: Any, home: Any, snapshot: str) -> None:
    """A scratch datacenter from a snapshot and the archive is the fold of what the archive holds."""
    archive = Archive(home.disks.bucket)
    scratch = Disks(f"scratch {home.name}", Ledger(), world.wall_ms, home.disks.bucket)
    await restoring.restore(
        snapshot,
        relational=scratch.relational,
        messages=scratch.messages,
        log=scratch.log,
        archive=archive,
        objects=home.disks.bucket,
        number=home.number,
        clock=world.wall_ms,
    )
    view = StoreView(home.name, scratch.relational, scratch.messages, scratch.hot)
    view.number = home.number
    view.dcs = frozenset(home.settings.names)
    applier = Applier(
        event_log=scratch.log,
        relational=scratch.relational,
        messages=scratch.messages,
        hot=scratch.hot,
        view=view,
        actions=registry(),
        codec=codec(),
        clock=HybridClock(world.wall_ms),
        now_ms=world.wall_ms,
        own_lanes=(),
    )
    await applier.start()
    await applier.close()
    for parked in await scratch.relational.parked():
        with contextlib.suppress(Undecodable, Conflict):
            await applier.retry_parked(parked.lane, parked.seq)
    held = {
        record.id for lane, (_, last) in (await archive.lanes()).items() for record in await archive.read(lane, 0, last)
    }
    left = {parked.id for parked in await scratch.relational.parked()}
    if living := [id for id in left if not hopeless(world.watching.events[id]) and not _given(world, home, held, id)]:
        raise Violation(f"{home.name}: snapshot {snapshot} restores with parked events: {living}")
    fold = State()
    for id in sorted(held - left - _dropped(world, held)):
        event = world.watching.events.get(id)
        if event is not None:
            for effect in registry_effects(event):
                fold.apply(id, effect)
    wanted = digest_of({name: fold.rows(name, {}) for name in ALL_TABLES})
    found = await digest(scratch.relational, scratch.messages)
    if found.total != wanted.total:
        raise Violation(f"{home.name}: snapshot {snapshot} restores something else: {found.differences(wanted)}")
    world.counts["snapshots restored on trial"] += 1


def _given(world: Any, home: Any, held: set[int], id: int) -> bool:
    """Has the datacenter agreed to drop this event, by its own word among `held`?"""
    lane, seq = world.ledger.of_id[id]
    words = (world.watching.events.get(one) for one in held if ids.Lane.of(ids.lane_of(one)).dc == home.number)
    return any(
        word is not None and word.action == "parked.drop" and (word.args.lane, word.args.seq) == (lane, seq)
        for word in words
    )


async def _clients(world: Any) -> None:
    """Everybody ends with what a fresh fetch gives, in every region."""
    for user in world.users.values():
        client = user.client
        if client.stats.missed:
            raise Violation(f"{user.name}: {client.stats.missed} holes were not closed")
        if world.lost:
            # What was shown and then lost with its datacenter is nobody's to take back: the app starts again.
            await world.loop.start(user.process, client._reload(True), "reload")
        ends = world.loop.time() + 240
        while True:
            world.look()
            task = world.loop.start(user.process, client.fresh_state(), "fresh")
            try:
                fresh = (await task).snapshot()
            except SdkError as error:
                if world.loop.time() > ends:
                    raise Violation(f"{user.name} can't fetch: {error!r}") from error
                continue
            mine = client.state.snapshot()
            if mine == fresh:
                break
            if world.loop.time() > ends:
                raise Violation(f"{user.name} ends with {differences(mine, fresh)} (his, fresh)")
            await asyncio.sleep(1)


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    if a == b:
        return []
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            one
            for name in sorted(a.keys() | b.keys())
            for one in differences(a.get(name), b.get(name), f"{path}/{name}")
        ]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [one for at, pair in enumerate(zip(a, b, strict=True)) for one in differences(*pair, f"{path}/{at}")]
    return [f"{path}: {a!r} | {b!r}"]

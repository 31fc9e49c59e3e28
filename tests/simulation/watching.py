"""What is checked while a history goes on: what datacenters say of themselves, and what people are shown."""

import json
from typing import Any

from api.cursors import Cursor, decode
from api.signing import Signer
from core import ids, limits
from core.action import registry
from core.event import Event
from core.messages import Row
from core.tables import MESSAGE_ROWS, TABLES, Cell, merge
from events.codec import codec
from events.record import KIND_EVENT, Record
from tests.simulation import poison, rules
from tests.simulation.decided import Finals
from tests.simulation.loop import Process
from tests.simulation.network import Answer
from tests.simulation.poison import healthy_effects, hopeless
from tests.simulation.steady import Frontiers


class Watching:
    def __init__(self, world: Any) -> None:
        self.world = world
        self._known = 0
        self._places = list(world.ledger.records)
        self.events: dict[int, Event] = {}
        self._classes: dict[int, list[int]] = {}
        self._adds: dict[tuple[str, str], list[int]] = {}
        self._ends: dict[tuple[str, str], list[dict[int, int]]] = {}
        """(chat, user) -> what each of his leaves and kicks knew."""
        self._by_lane: dict[int, list[int]] = {}
        self._verified: dict[str, dict[int, int]] = {}
        """datacenter -> lane -> id through which its stores were found to hold everything."""
        self._pts: dict[tuple[str, int, str, int], str] = {}
        self.frontiers = Frontiers(world)
        self.finals = Finals(world)

    def forget(self, dc: str) -> None:
        """Its stores went back."""
        self._verified.pop(dc, None)

    # -- what was written

    def learn(self) -> None:
        """Takes in the records that were written since."""
        records = self.world.ledger.records
        if len(records) == self._known:
            return
        for record in list(records.values())[self._known :]:
            self._known += 1
            self._learn(record)

    def _learn(self, record: Record) -> None:
        self._by_lane.setdefault(record.lane, []).append(record.id)
        if record.kind != KIND_EVENT:
            return
        event = self.events[record.id] = codec().decode(record.body)
        if who := rules.ended(event):
            knew = {**event.args.seen, record.lane: record.id}
            self._ends.setdefault((event.args.chat, who), []).append(knew)
        for effect in registry_effects(event):
            key = effect.key
            if effect.table == "member_adds":
                self._adds.setdefault((str(key[0]), str(key[1])), []).append(event.id)
            elif effect.table == MESSAGE_ROWS and effect.columns["kind"] == "send":
                self._classes.setdefault(effect.columns["class_"], []).append(event.id)

    def dropped(self) -> set[int]:
        """Ids of events that all datacenters have agreed to drop."""
        self.learn()
        places = rules.dropped(self.events.values())
        return {record.id for place, record in self.world.ledger.records.items() if place in places}

    # -- what is final, and what one has written oneself

    def taken(self, id: int, begun_s: float) -> None:
        """Its author was told that this was done; he had begun it at that time."""
        self.learn()
        event, dc = self.events[id], self.world.dc_of(id)
        self.finals.check(event, dc, begun_s)
        self.finals.told(event, dc)

    def knows_revoked(self, dc: str, session: str) -> bool:
        """Has this datacenter applied that the session is over?"""
        self.learn()
        home = self.world.homes[dc]
        if not home.serving:
            return False
        v = home.dc.applier.progress.v()
        return any(
            event.action == "session.revoke" and event.args.session == session and id <= v.get(ids.lane_of(id), 0)
            for id, event in self.events.items()
        )

    def own(self, user: Any, peer: str, dc: str) -> set[int]:
        """Messages that this person has sent there, and that this datacenter itself has taken and told."""
        self.learn()
        conversation = ids.direct_conversation(user.name, peer) if peer.startswith("U") else peer
        if dc in self.world.lost_with:
            return set()
        gone = {
            event.args.message if event.action == "message.hide" else id
            for event in self.events.values()
            if event.actor == user.name and event.action in ("message.hide", "dialog.clear")
            for id in (event.args.marks.values() if event.action == "dialog.clear" else (0,))
        }
        cleared = max((id for id in gone), default=0)
        return {
            made.id
            for made in self.world.promises
            if made.user == user.name and made.dc == dc and made.id > cleared
            and (event := self.events[made.id]).action == "message.send" and event.args.conversation == conversation
        }  # fmt: skip

    def looked(self, user: Any, written: set[int], shown: set[int]) -> None:
        """A person has read the end of a history (all of it, if 0 is in `written`)."""
        begin = 0 if 0 in written else min(shown, default=0)
        if missing := {id for id in written if id > begin} - shown:
            self.world.ledger.broken(f"{user.name} looks where he wrote, and does not find his own {sorted(missing)}")

    # -- nobody reads what he may not

    def shown(self, user: Any, message: dict[str, Any]) -> None:
        self.learn()
        event = self.events.get(int(message["id"]))
        if event is None:
            self.world.ledger.broken(f"{user.name} was shown message {message['id']}, which no log ever held")
            return
        if not self._may(user.name, event):
            self.world.ledger.broken(f"{user.name} was shown message {event.id} of {message['conversation']}")

    def _may(self, user: str, event: Event) -> bool:
        """By what its origin decided: a recipient, or one whose add the origin did not know, or a former member whose
        membership ended when that was known. Of a supergroup: one who was in it."""
        chat = event.args.conversation if event.action == "message.send" else event.args.chat
        copies = [self.events[id] for id in self._copies(event)]
        if any(user == copy.actor or user in rules.addressed(copy) for copy in copies):
            return True
        if chat.startswith("D"):
            return False
        adds = self._adds.get((chat, user), [])
        if chat.startswith("C"):
            return bool(adds)
        if any(id > getattr(copy.args, "knew", {}).get(ids.lane_of(id), 0) for id in adds for copy in copies):
            return True
        ends = self._ends.get((chat, user), [])
        return bool(adds) and any(id <= knew.get(ids.lane_of(id), 0) for knew in ends for id in self._copies(event))

    def _copies(self, send: Event) -> list[int]:
        row = next(effect for effect in registry_effects(send) if effect.table == MESSAGE_ROWS)
        return self._classes[row.columns["class_"]]

    # -- a mark covers nothing unseen

    def marked(self, user: Any, id: int, had: set[int]) -> None:
        """A read or clear mark was set by a person who had been shown `had`."""
        self.learn()
        event = self.events[id]
        chat, marks = event.args.conversation, event.args.marks
        earlier: dict[int, int] = {}
        for other in self.events.values():
            if other.actor != user.name or other.action not in ("dialog.read", "dialog.clear") or other.id == id:
                continue
            if other.args.conversation == chat:
                for lane, mark in other.args.marks.items():
                    earlier[lane] = max(mark, earlier.get(lane, 0))
        for sent in self.events.values():
            lane = ids.lane_of(sent.id)
            if sent.action != "message.send" or sent.args.conversation != chat or sent.actor == user.name:
                continue
            if not earlier.get(lane, 0) < sent.id <= marks.get(lane, 0) or not self._may(user.name, sent):
                continue
            if had.isdisjoint(self._copies(sent)):
                self.world.ledger.broken(f"{user.name}: {event.action} {id} covers {sent.id}, which he was never shown")

    # -- V never lies, and pts mean one thing

    def served(self, process: Process, answer: Answer) -> None:
        """An answer leaves its datacenter."""
        home = self.world.homes[self.world.network.hosts[process]]
        if home.serve_after and home.process is process and b'"cursor":"PC1.' in answer.body:
            applied = home.dc.applier.progress
            if applied.reached(home.serve_after):
                home.serve_after = {}
            else:
                self.world.ledger.broken(f"{home.name} serves before it has applied the end of its snapshot")
        if answer.status >= 500 and answer.status != 503:
            self.world.ledger.broken(f"{process.name} answered {answer.status}: {answer.body[:300]!r}")
        if not 200 <= answer.status < 300 or b'"cursor":"PC1.' not in answer.body:
            return
        body = json.loads(answer.body)
        if body.get("more"):
            return  # in the midst of a search: V is still what the client came with
        cursor = decode(self._opened(body["cursor"]))
        if home.process is process:
            self.frontiers.look(home)
            self._check_v(home, cursor)

    def _opened(self, text: str) -> bytes:
        from tests.simulation.datacenter import TOKEN_KEY

        found = Signer(TOKEN_KEY, "PC1", limits.CURSOR_CHARS_MAX).open(text)
        assert found is not None
        return found

    def _check_v(self, home: Any, cursor: Cursor) -> None:
        self.learn()
        verified = self._verified.setdefault(home.name, {})
        for lane, id in cursor.v.items():
            after = verified.get(lane, 0)
            if id <= after:
                continue
            for one in self._by_lane.get(lane, ()):
                if (
                    after < one <= id
                    and one in self.events
                    and not self._holds(home, self.events[one])
                    and one not in self.dropped()
                ):
                    self.world.ledger.broken(f"V of {home.name} covers {one} of lane {lane}, which is not applied")
            verified[lane] = id

    def _holds(self, home: Any, event: Event) -> bool:
        """Do its stores hold all effects of the event, or what beat them?"""
        if hopeless(event):
            return False
        tables = home.disks.relational._fold.tables
        rows = home.disks.messages._rows.rows
        queued = {row.event for batch, _ in home.dc.messages._queue for row in batch}
        for effect in registry_effects(event):
            if effect.table == MESSAGE_ROWS:
                if event.id not in rows and event.id not in queued:
                    return False
                continue
            cells = tables.get(effect.table, {}).get(effect.key)
            if cells is None:
                return False
            for name, value in effect.columns.items():
                law = TABLES[effect.table].columns[name].law
                cell = cells.get(name)
                if cell is None:
                    return False
                present = Cell(cell.value, cell.stamp)
                if merge(law, present, Cell(value, event.id)) != present:
                    return False
        return True

    def answered(self, here: str, there: str, method: str, target: str, answer: Answer) -> None:
        """An answer reaches who asked."""
        if here not in self.world.users or answer.status != 200:
            return
        if b'"from":' in answer.body:
            self._read_over(here, json.loads(answer.body))
        if method == "POST" and target == "/v1/updates":
            body = json.loads(answer.body)
            position = body["position"]
            for item in body["updates"]:
                owner = item.get("channel", here)
                place = (position["dc"], position["epoch"], owner, item["pts"])
                known = self._pts.setdefault(place, item["update"]["event"])
                if known != item["update"]["event"]:
                    self.world.ledger.broken(f"pts {place} meant event {known}, and now {item['update']['event']}")

    def _read_over(self, user: str, part: Any) -> None:
        """Whatever message an answer holds, wherever: it is for his eyes."""
        if isinstance(part, list):
            for one in part:
                self._read_over(user, one)
        elif isinstance(part, dict):
            if {"id", "conversation", "from"} <= part.keys():
                self.shown(self.world.users[user], part)
            for one in part.values():
                if isinstance(one, list | dict):
                    self._read_over(user, one)


def registry_effects(event: Event) -> tuple[Any, ...]:
    """All effects of an event, where it can be applied."""
    if event.action == poison.NAME:
        return tuple(healthy_effects(event))
    return tuple(_REGISTRY[event.action].effects(event))


_REGISTRY = registry()
assert Row

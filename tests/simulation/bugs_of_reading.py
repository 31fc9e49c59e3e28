"""Bugs planted where things are read: cursors, positions, feeds, marks, histories, the SDK."""

from typing import Any

from tests.simulation.planted import Bug

RESTLESS: dict[str, Any] = {"restless": 0.2, "acts": 80, "lasts_s": 60.0}

READING = (
    Bug(
        "V read after the updates",
        (
            (
                "api.queries.updates:Updates.updates",
                "reached_v = old.v if undrained else v",
                "reached_v = old.v if undrained else self._standpoint.v()",
            ),
        ),
        ("slow stores", "cut", "deaf brokers"),
        60,
        RESTLESS,
    ),
    Bug(
        "V of a first cursor read after its position",
        (("api.queries.standpoint:Standpoint.present", "pts[0], v, dict(", "pts[0], self.v(), dict("),),
        ("slow stores", "hot store lost", "app killed"),
        150,
        RESTLESS | {"faults": 12, "lasts_s": 30.0},
    ),
    Bug(
        "V merged element by element",
        (
            (
                "api.queries.updates:Updates.updates",
                "reached_v = old.v if undrained else v",
                "reached_v = old.v if undrained else {n: max(v.get(n, 0), old.v.get(n, 0)) for n in {*v, *old.v}}",
            ),
        ),
        ("cut", "isolation"),
        20,
        RESTLESS,
    ),
    Bug(
        "pages take the present V",
        (("api.queries.updates:Updates.updates", "reached_v = old.v if undrained else v", "reached_v = v"),),
        ("cut", "isolation"),
        60,
        RESTLESS | {"bounds": {"PAGE_MAX": 3, "SCAN_ENTRIES_MAX": 5}},
    ),
    Bug(
        "the greatest id as cursor",
        (
            (
                "api.queries.updates:Updates._counts",
                "event > v.get(lane_of(event), 0)",
                "event > max(v.values(), default=0)",
            ),
        ),
        ("cut", "isolation"),
        20,
        RESTLESS,
    ),
    Bug(
        "a watermark per datacenter",
        (
            (
                "api.queries.updates:Updates._counts",
                "event > v.get(lane_of(event), 0)",
                "event > max((id for lane, id in v.items() if lane >> 11 == (event & 0xFFFF) >> 11), default=0)",
            ),
        ),
        ("burnt datacenter", "cut", "isolation"),
        150,
        RESTLESS | {"dcs": 3, "faults": 10},
    ),
    Bug(
        "pts carried over to another datacenter",
        (
            (
                "api.queries.updates:Updates._lists",
                "here = old.dc == self._standpoint.dc and old.epoch == epoch",
                "here = True",
            ),
        ),
        ("cut",),
        20,
        RESTLESS,
    ),
    Bug(
        "positions outlive their epoch",
        (
            (
                "api.queries.updates:Updates._lists",
                "here = old.dc == self._standpoint.dc and old.epoch == epoch",
                "here = old.dc == self._standpoint.dc",
            ),
        ),
        ("hot store lost", "client cut"),
        60,
        {"acts": 80, "faults": 10, "bounds": {"REFEED_RECORDS_MAX": 5}},
    ),
    Bug(
        "trimmed updates are not told of",
        (
            ("api.queries.updates:Updates._check_trimmed", "raise _Trimmed", "pass"),
            ("api.queries.updates:Updates._check_gap", "raise _Trimmed", "pass"),
        ),
        ("client cut", "hot store lost"),
        60,
        {"acts": 80, "updates_kept": 5, "faults": 10},
    ),
    Bug(
        "a mark covers whatever is there",
        (
            (
                "stores.view:StoreView.seen",
                "return await self._hot.seen(owner, conversation, message, pts)",
                "return await self._hot.seen(owner, conversation, message, 10**9)",
            ),
        ),
        ("client cut", "deaf brokers", "slow stores"),
        60,
        {"acts": 80},
    ),
    Bug(
        "a scalar read mark",
        (
            (
                "stores.view:StoreView.seen",
                "return await self._hot.seen(owner, conversation, message, pts)",
                "return dict.fromkeys(position.v, message)",
            ),
        ),
        ("cut", "isolation"),
        60,
        {"acts": 80},
    ),
    Bug(
        "every local member is fed",
        (
            (
                "core.audience:owed",
                "unknown = any(add.id > audience.knew.get(add.id & 0xFFFF, 0) for add in membership.live_adds())",
                "unknown = membership.present",
            ),
        ),
        ("cut", "isolation"),
        150,
        {"acts": 80, "lasts_s": 30.0, "faults": 8},
    ),
    Bug(
        "a recall loses to a later edit",
        (("core.messages:fold", "recalled = True", "recalled = edit is None or edit.event < row.event"),),
        ("cut", "isolation"),
        150,
        {"acts": 80, "lasts_s": 30.0, "faults": 8},
    ),
    Bug(
        "copies are not one message",
        (
            (
                "core.actions.messages:Send.effects",
                "class_ = ids.class_of(event.actor, event.key or str(event.id), args.conversation, event.fingerprint)",
                "class_ = ids.class_of(event.actor, str(event.id), args.conversation, event.fingerprint)",
            ),
        ),
        ("cut", "client cut"),
        40,
        RESTLESS,
    ),
    Bug(
        "remote is said without waiting",
        (
            (
                "replicator.remote:RemoteDurability.wait",
                "return await self._board.held_elsewhere(lane, seq, timeout_s)",
                "return True",
            ),
        ),
        ("burnt datacenter", "cut", "isolation"),
        60,
        {"acts": 80, "lasts_s": 20.0},
    ),
    Bug(
        "V goes on over a parked event",
        (("stores.progress:_contiguous", "if not parked:", "if True:"),),
        ("upgrade",),
        40,
        {"acts": 80},
    ),
    Bug(
        "stale rows stay in the cache",
        (("stores.view:StoreView._forget", "self._cache.pop(key, None)", "pass"),),
        ("cut",),
        20,
    ),
    Bug(
        "sdk: the outbox believes every region",
        (("planb_sdk.writer:Writer.doubt", "self.outbox.generation += 1", "pass"),),
        ("burnt datacenter", "cut", "isolation"),
        80,
        {"acts": 80, "lasts_s": 30.0, "dcs": 2},
    ),
    Bug(
        "sdk: holes are passed over",
        (
            (
                "planb_sdk.follower:Follower._streamed",
                "elif known is not None and pts == known + 1:",
                "elif known is not None:",
            ),
        ),
        ("deaf brokers",),
        40,
        {"faults": 10, "acts": 80},
    ),
    Bug(
        "a history shows what is not his",
        (
            (
                "api.queries.visible:Reader.shows",
                "if not may_read(message, self.user, self.membership, self.kind):",
                "if False:",
            ),
        ),
        ("cut",),
        150,
        {"acts": 80, "lasts_s": 30.0},
    ),
    Bug(
        "announced from its row in any case",
        (("stores.announce:Announcer._just_sent", "if class_ in seen:", "if False:"),),
        ("isolation", "cut"),
        150,
        {"acts": 80, "perturbed": 0.5},
    ),
    Bug(
        "an update shows its own event and not the present",
        (
            (
                "stores.announce:Announcer._just_sent",
                "elif item.entry.lane in self._own_lanes and row.message not in seen:",
                "elif True:",
            ),
            ("stores.announce:Announcer._just_sent", "if class_ in seen:", "if False:"),
        ),
        ("cut", "isolation"),
        150,
        {"acts": 80},
    ),
    Bug(
        "joiners are not fed what is here already",
        (("stores.hot_writer:HotWriter._back_feed", "if chats:", "if False:"),),
        ("cut", "isolation"),
        150,
        {"acts": 80},
    ),
    Bug(
        "a recalled message stays unread",
        (("stores.plan:_of_row", "found.recalls.append((row.conversation, row.message))", "pass"),),
        ("cut",),
        20,
        {"acts": 80},
    ),
    Bug(
        "what was cleared stays unread",
        (("stores.plan:_of_effect", '("read_marks", "clear_marks")', '("read_marks",)'),),
        ("cut",),
        20,
        {"acts": 80},
    ),
    Bug(
        "reactions: the first vote counts",
        (("core.messages:fold", "if row.event > votes.get(vote, (0, False))[0]:", "if vote not in votes:"),),
        ("cut", "isolation"),
        20,
        {"acts": 80},
    ),
)

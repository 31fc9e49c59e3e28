"""Per lane, the records that are here but not proven yet: until the one before is there, and until one that its DC
signed follows.

A lane's inbox begins at its *top*, the last record that is proven and stored. What arrives behind it is a tree of
hints: each record hangs on the one whose hash it was chained to. A record signed by the lane's DC proves the path from
the top to itself. So order, repetition and loss do not matter, and a wrong hint (a peer that lies, a process that was
fenced) can delay but never get in. Two signed records on different branches are a fork: the lane stops for good, for
a person to look at.

Invariants: what `drain` returns is dense, chained from `top`, and ends with a valid signature; `size` counts every
held record; a lane that is forked holds nothing.
"""

from collections import OrderedDict
from typing import Any

from core import limits
from core.errors import Corrupt
from core.ids import lane_of
from events.ports import Top
from events.record import GENESIS, Record, chain
from events.signing import Verifier

_RIVALS_MAX = 4
"""Differing hints kept for one seq."""
_RECENT_MAX = 4_096
"""Proven hashes kept per lane, to compare duplicates with."""


def follows(previous: bytes, record: Record) -> bool:
    """Is `record` chained to the record with hash `previous`?"""
    return record.hash == chain(previous, record.lane, record.seq, record.id, record.kind, record.body)


class LaneInbox:
    """One lane. Pure: no I/O."""

    def __init__(self, lane: int, top: Top, verifier: Verifier) -> None:
        self.lane = lane
        self.top = top
        self.forked = ""
        """Why the lane stopped; "" while it has not."""
        self.bad = 0
        """Records refused: wrong signature, wrong id, not chained to anything."""
        self._verifier = verifier
        self._tree: dict[int, dict[bytes, tuple[Record, bytes]]] = {}
        """seq -> hash -> (record, hash of the record that it hangs on): connected to the top."""
        self._loose: dict[int, dict[bytes, Record]] = {}
        """seq -> hash -> record: connected to nothing yet."""
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._other: tuple[int, bytes] | None = None
        """The end of a second history at or below the top, while it is not known whether anyone signed it."""
        self._signed = False
        """Did a signed record join the tree since the last drain?"""
        self.size = 0
        """Records held."""
        self._recent[top.seq] = top.hash

    @property
    def have(self) -> int:
        """Records after this seq are wanted. Back at the top when what is here leads nowhere."""
        seq = self.top.seq
        while seq + 1 in self._tree:
            seq += 1
        return self.top.seq if seq + 1 in self._loose else seq

    def remembers(self, seq: int) -> bool:
        """Can a duplicate of this proven record be compared?"""
        return seq == 0 or seq in self._recent

    def remember(self, seq: int, hash: bytes) -> None:
        """Tells the hash of a proven record."""
        self._recent[seq] = hash
        if len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)

    def offer(self, record: Record) -> None:
        """Takes a record, in any order."""
        if self.forked:
            return
        if record.seq <= self.top.seq:
            self._compare(record)
            return
        if lane_of(record.id) != self.lane:
            self.bad += 1
            return
        seq = record.seq
        branches = self._tree.get(seq, {})
        loose = self._loose.get(seq, {})
        if record.hash in branches or record.hash in loose:
            return
        if len(branches) + len(loose) >= _RIVALS_MAX:
            self._evict_rival(seq)
        self.size += 1
        if self._connect(record):
            self._connect_loose(seq + 1)
        else:
            self._loose.setdefault(seq, {})[record.hash] = record

    def drain(self) -> list[Record]:
        """Records that are proven now, in order; they become part of the lane's past."""
        if not self._signed or self.forked:
            return []
        self._signed = False
        ends = self._valid_ends()
        if not ends:
            return []
        path = self._path(ends[0])
        proven = {record.hash for record in path}
        for end in ends[1:]:
            if end.hash not in proven:
                self.stop(_parted(end.seq))
                return []
        self._settle(path)
        return path

    def drop_furthest(self) -> bool:
        """Makes room: forgets what lies furthest ahead. False if nothing is held."""
        held: dict[int, Any] = self._loose or self._tree
        if not held:
            return False
        seq = max(held)
        hashes: dict[bytes, Any] = held[seq]
        hashes.popitem()
        self.size -= 1
        if not hashes:
            del held[seq]
        return True

    def furthest(self) -> int:
        """How far ahead of the top the furthest record lies; 0 if nothing is held."""
        return max((*self._tree, *self._loose), default=self.top.seq) - self.top.seq

    def _evict_rival(self, seq: int) -> None:
        """Forgets the oldest hint of a seq, so that a liar who came first does not keep the truth out."""
        loose = self._loose.get(seq)
        if loose:
            del loose[next(iter(loose))]
            self.size -= 1
        else:
            self._cut(next(iter(self._tree[seq].values()))[0])

    def _connect(self, record: Record) -> bool:
        if record.seq == self.top.seq + 1:
            parents = [(self.top.hash, self.top.id)]
        else:
            parents = [(hash, before.id) for hash, (before, _) in self._tree.get(record.seq - 1, {}).items()]
        for parent, id in parents:
            if record.id > id and follows(parent, record):
                self._tree.setdefault(record.seq, {})[record.hash] = (record, parent)
                self._signed = self._signed or bool(record.signature)
                return True
        return False

    def _connect_loose(self, seq: int) -> None:
        while seq in self._loose:
            found = [record for record in self._loose[seq].values() if self._connect(record)]
            for record in found:
                del self._loose[seq][record.hash]
            if not self._loose[seq]:
                del self._loose[seq]
            if not found:
                return
            seq += 1

    def _valid_ends(self) -> list[Record]:
        """Signed records of the tree: the furthest one that is valid, and valid ones that are not on its path."""
        ends: list[Record] = []
        proven: set[bytes] = set()
        for seq in sorted(self._tree, reverse=True):
            for record, _ in list(self._tree.get(seq, {}).values()):
                if not record.signature or record.hash in proven:
                    continue
                try:
                    self._verifier.verify(record)
                except Corrupt:
                    self.bad += 1
                    self._cut(record)
                    continue
                ends.append(record)
                proven.update(ancestor.hash for ancestor in self._path(record))
        return ends

    def _path(self, end: Record) -> list[Record]:
        path = []
        seq, hash = end.seq, end.hash
        while seq > self.top.seq:
            record, parent = self._tree[seq][hash]
            path.append(record)
            seq, hash = seq - 1, parent
        path.reverse()
        return path

    def _cut(self, record: Record) -> None:
        """Forgets a record of the tree and what hangs on it."""
        gone = {record.hash}
        seq = record.seq
        while gone and seq in self._tree:
            level = self._tree[seq]
            gone = {hash for hash, (_, parent) in level.items() if hash in gone or parent in gone}
            for hash in gone:
                del level[hash]
            self.size -= len(gone)
            if not level:
                del self._tree[seq]
            seq += 1

    def _settle(self, path: list[Record]) -> None:
        last = path[-1]
        for record in path:
            self.remember(record.seq, record.hash)
        ours = {record.hash for record in path}
        for seq in sorted(self._tree):
            level = self._tree.pop(seq)
            if seq <= last.seq:
                beside = next((hash for hash in level if hash not in ours), None)
                if beside is not None:
                    self._other = (seq, beside)
                continue
            kept = {hash: item for hash, item in level.items() if item[1] in ours}
            ours.update(kept)
            if kept:
                self._tree[seq] = kept
        for seq in [seq for seq in self._loose if seq <= last.seq]:
            self.bad += len(self._loose.pop(seq))
        self.top = Top(last.seq, last.id, last.hash)
        self._connect_loose(last.seq + 1)
        self.size = sum(map(len, self._tree.values())) + sum(map(len, self._loose.values()))

    def _compare(self, record: Record) -> None:
        """A record at or below the top: a duplicate, or part of another history of this lane."""
        known = self._recent.get(record.seq)
        if known is None or known == record.hash:
            return
        before = GENESIS if record.seq == 1 else self._recent.get(record.seq - 1)
        here = before is not None and follows(before, record)
        beside = self._other is not None and self._other[0] == record.seq - 1 and follows(self._other[1], record)
        if not (here or beside):
            self.bad += 1
            return
        self._other = (record.seq, record.hash)
        if not record.signature:
            return
        try:
            self._verifier.verify(record)
        except Corrupt:
            self.bad += 1
            return
        self.stop(_parted(record.seq))

    def stop(self, reason: str) -> None:
        """Takes nothing any more."""
        self.forked = reason
        self._tree.clear()
        self._loose.clear()
        self.size = 0


def _parted(seq: int) -> str:
    return f"two signed histories part at or before seq {seq}"


class Inbox:
    """All lanes, together bounded by `records_max`: beyond it what lies furthest ahead is dropped, and pulled again
    when its turn comes."""

    def __init__(self, verifier: Verifier, records_max: int = limits.INBOX_RECORDS_MAX) -> None:
        self._verifier = verifier
        self._records_max = records_max
        self.lanes: dict[int, LaneInbox] = {}
        self.size = 0
        self.dropped = 0

    def lane(self, lane: int, top: Top) -> LaneInbox:
        """The lane's inbox; begun at `top` if there is none."""
        found = self.lanes.get(lane)
        if found is None:
            found = self.lanes[lane] = LaneInbox(lane, top, self._verifier)
        return found

    def offer(self, record: Record) -> None:
        """Takes a record of a lane that was begun."""
        inbox = self.lanes[record.lane]
        before = inbox.size
        inbox.offer(record)
        self.size += inbox.size - before
        while self.size > self._records_max:
            furthest = max(self.lanes.values(), key=LaneInbox.furthest)
            if not furthest.drop_furthest():
                return
            self.size -= 1
            self.dropped += 1

    def drain(self, lane: int) -> list[Record]:
        """What is proven now; see `LaneInbox.drain`."""
        inbox = self.lanes[lane]
        before = inbox.size
        proven = inbox.drain()
        self.size += inbox.size - before
        return proven

    def forget(self, lane: int) -> None:
        """Begins the lane anew at its next record: what was proven could not be stored."""
        found = self.lanes.pop(lane, None)
        if found is not None:
            self.size -= found.size

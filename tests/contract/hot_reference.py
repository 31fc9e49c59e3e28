"""The hot store's promises in the plainest Python: all that ever happened is kept, and looked through."""

from collections import defaultdict
from collections.abc import Iterable

from core.ids import lane_of
from stores.ports import Feed, HotBatch, Recent, Unread


class Reference:
    def __init__(self, updates_kept: int, recent_kept: int) -> None:
        self.updates_kept = updates_kept
        self.recent_kept = recent_kept
        self.fed: defaultdict[str, list[Feed]] = defaultdict(list)
        self.tops: set[tuple[str, str, int]] = set()
        self.recents: set[Recent] = set()
        self.recalls: set[tuple[str, int]] = set()
        self.hides: set[tuple[str, str, int]] = set()
        self.marks: set[tuple[str, str, int, int]] = set()

    def apply(self, batch: HotBatch) -> None:
        for feed in batch.feeds:
            self.fed[feed.owner].append(feed)
        taken: set[Feed] = set()
        held = {(feed.owner, known.event) for feed in batch.back_feeds for known in self.kept(feed.owner)}
        for feed in batch.back_feeds:
            if (feed.owner, feed.event) not in held and feed not in taken:
                taken.add(feed)
                self.fed[feed.owner].append(feed)
        self.tops |= set(batch.tops)
        fed = [feed for feed in (*batch.feeds, *batch.back_feeds) if feed.conversation]
        self.tops |= {(feed.owner, feed.conversation, feed.event) for feed in fed}
        self.recents |= {recent for recent in batch.recents if recent.counts}
        self.recalls |= set(batch.recalls)
        self.hides |= set(batch.hides)
        self.marks |= set(batch.marks)

    def base(self, owner: str) -> int:
        return max(0, len(self.fed[owner]) - self.updates_kept)

    def kept(self, owner: str) -> list[Feed]:
        return self.fed[owner][self.base(owner) :]

    def trimmed(self, owner: str) -> dict[int, int]:
        return greatest(feed.event for feed in self.fed[owner][: self.base(owner)])

    def delivered(self, owner: str, conversation: str, message: int, pts: int) -> dict[int, int]:
        """What a client that stands at `pts` was really given."""
        there = [feed.event for feed in self.fed[owner][:pts] if feed.conversation == conversation]
        return greatest(id for id in there if id <= message)

    def seen(self, owner: str, conversation: str, message: int, pts: int) -> dict[int, int]:
        """The same, with what was trimmed counting as delivered. Only for pts that are not older than the trimming."""
        found = self.delivered(owner, conversation, message, pts)
        for lane, id in self.trimmed(owner).items():
            found[lane] = max(found.get(lane, 0), min(id, message))
        return found

    def dialogs(self, user: str) -> list[tuple[str, int]]:
        top: dict[str, int] = {}
        for owner, conversation, id in self.tops:
            if owner == user:
                top[conversation] = max(id, top.get(conversation, 0))
        return sorted(top.items(), key=lambda dialog: (-dialog[1], dialog[0]))

    def unread(self, user: str, conversation: str, joined_at: int) -> Unread:
        here = sorted(
            (recent for recent in self.recents if recent.conversation == conversation), key=lambda r: r.message
        )
        window = here[-self.recent_kept :]
        below = greatest(recent.message for recent in here[: -self.recent_kept])
        mark = greatest(id for who, where, _, id in self.marks if (who, where) == (user, conversation))

        def unseen(id: int) -> bool:
            return id > mark.get(lane_of(id), 0) and id > joined_at

        def counts(class_: int) -> bool:
            copies = [recent for recent in window if recent.class_ == class_]
            return all(
                recent.sender != user
                and unseen(recent.message)
                and (conversation, recent.message) not in self.recalls
                and (user, conversation, recent.message) not in self.hides
                for recent in copies
            )

        classes = {recent.class_ for recent in window}
        return Unread(sum(map(counts, classes)), any(map(unseen, below.values())))


def greatest(ids: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for id in ids:
        found[lane_of(id)] = max(id, found.get(lane_of(id), 0))
    return found

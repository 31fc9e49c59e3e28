"""Judges a history by what is promised to clients, and by nothing that the servers say of themselves.

Session guarantees after Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (1994). Reads are
promised per client *and datacenter*: what a datacenter has shown or acknowledged to somebody, it shows him from then
on, also after it was killed. In another datacenter it comes later, by the updates. The order of ids is promised across
datacenters, because clients carry `X-Clock`, but for ids that a wrong clock has stamped.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from tests.faults.history import OK, REFUSED, History, Read, Shown, Write


def violations(history: History) -> list[str]:
    """Every promise that was broken, in words; empty for a good history."""
    return [f"{rule.__name__}: {what}" for rule in RULES for what in rule(history)]


def converged(history: History) -> Iterator[str]:
    """When all is quiet, every datacenter shows the same."""
    first, *others = sorted(history.final)
    for other in others:
        mine, theirs = history.final[first], history.final[other]
        if mine != theirs:
            differing = sorted({one.key for one in set(mine) ^ set(theirs)})
            yield f"{first} and {other} differ in their order or in {len(differing)} messages, e.g. {differing[:3]}"


def nothing_acknowledged_is_lost(history: History) -> Iterator[str]:
    for dc, shown in history.final.items():
        ids = {one.key: {one.id, *one.ids} for one in shown}
        for write in history.writes:
            if write.outcome != OK:
                continue
            if write.key not in ids:
                yield f"{write.key}, acknowledged by {write.dc}, is not in {dc}"
            elif write.id not in ids[write.key]:
                yield f"{write.key} was acknowledged as {write.id} by {write.dc}, and {dc} shows it as {ids[write.key]}"


def what_was_refused_did_not_happen(history: History) -> Iterator[str]:
    """A message of which every try was refused is nowhere."""
    tries = defaultdict(set)
    for write in history.writes:
        tries[write.key].add(write.outcome)
    refused = {key for key, outcomes in tries.items() if outcomes == {REFUSED}}
    for where, shown in _all_shown(history):
        for one in shown:
            if one.key in refused:
                yield f"{one.key} was refused, and {where} shows it"


def shown_once_and_in_order(history: History) -> Iterator[str]:
    for where, shown in _all_shown(history):
        twice = [key for key, count in Counter(one.key for one in shown).items() if count > 1]
        if twice:
            yield f"{where} shows {twice[:3]} twice"
        ids = [one.id for one in shown]
        if ids != sorted(set(ids)):
            yield f"{where} is not in the order of ids"


def ids_are_unique(history: History) -> Iterator[str]:
    owners: dict[int, str] = {}
    for write in history.writes:
        if write.outcome == OK and owners.setdefault(write.id, write.key) != write.key:
            yield f"id {write.id} was given to {owners[write.id]} and {write.key}"


def read_your_writes(history: History) -> Iterator[str]:
    own = defaultdict(list)
    for write in history.writes:
        if write.outcome == OK:
            own[write.client, write.dc].append(write)
    for read in history.reads:
        for write in own[read.client, read.dc]:
            if write.ended_s <= read.began_s and not _shows(read, write.key, write.id):
                yield f"{read.client} wrote {write.key} in {read.dc} and does not see it there"


def monotonic_reads(history: History) -> Iterator[str]:
    """What a datacenter has shown to a client it shows him again; what was recalled stays so."""
    known: dict[tuple[str, str], dict[str, Shown]] = defaultdict(dict)
    least: dict[str, int] = {}  # a copy that comes late may give a message a smaller id, and so an older place
    for _, messages in _all_shown(history):
        for one in messages:
            least[one.key] = min(one.id, least.get(one.key, one.id))
    for read in sorted(history.reads, key=lambda read: read.began_s):  # a client's reads do not overlap
        before = known[read.client, read.dc]
        now = {one.key: one for one in read.messages}
        for key, one in before.items():
            if not _shows(read, key, least[key]):
                yield f"{read.client} saw {key} in {read.dc}, and later does not"
            elif key in now and one.recalled and not now[key].recalled:
                yield f"{read.client} saw {key} recalled in {read.dc}, and later not"
        before.update(now)


def monotonic_writes(history: History) -> Iterator[str]:
    """A client's message has a greater id than the one that he knew to be sent before, wherever each was sent."""
    by_client = defaultdict(list)
    for write in history.writes:
        by_client[write.client].append(write)
    for client, writes in by_client.items():
        for earlier, later in _following(sorted(writes, key=lambda write: write.began_s)):
            if later.id <= earlier.id and earlier.id not in history.misstamped:
                yield f"{client} sent {later.key} after {earlier.key}, and its id is smaller"


def writes_follow_reads(history: History) -> Iterator[str]:
    """A message has a greater id than everything that its writer had read before, wherever."""
    for write in history.writes:
        if write.outcome != OK or not _is_first_try(history, write):
            continue
        for read in history.reads:
            if read.client == write.client and read.ended_s <= write.began_s:
                newest = next((one for one in reversed(read.messages) if one.id not in history.misstamped), None)
                if newest is not None and newest.key != write.key and newest.id >= write.id:
                    yield f"{write.client} wrote {write.key} after reading {newest.key}, and its id is smaller"


def a_recall_is_final(history: History) -> Iterator[str]:
    recalled = {recall.key for recall in history.recalls if recall.outcome == OK}
    for dc, shown in history.final.items():
        for one in shown:
            if one.key in recalled and not one.recalled:
                yield f"{one.key} was recalled, and {dc} shows it"
    for recall in history.recalls:
        for read in history.reads:
            same = (recall.client, recall.dc) == (read.client, read.dc)
            if recall.outcome == OK and same and recall.ended_s <= read.began_s:
                for one in read.messages:
                    if one.key == recall.key and not one.recalled:
                        yield f"{read.client} recalled {one.key} in {read.dc} and sees it there"


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    converged,
    nothing_acknowledged_is_lost,
    what_was_refused_did_not_happen,
    shown_once_and_in_order,
    ids_are_unique,
    read_your_writes,
    monotonic_reads,
    monotonic_writes,
    writes_follow_reads,
    a_recall_is_final,
)


def _all_shown(history: History) -> Iterable[tuple[str, tuple[Shown, ...]]]:
    for read in history.reads:
        yield f"a read of {read.client} in {read.dc}", read.messages
    for dc, shown in history.final.items():
        yield f"{dc} in the end", shown


def _shows(read: Read, key: str, id: int) -> bool:
    """Or the message is older than what was read."""
    if any(one.key == key for one in read.messages):
        return True
    return not read.whole and bool(read.messages) and id < read.messages[0].id


def _following(writes: list[Write]) -> Iterator[tuple[Write, Write]]:
    """Each write that was acknowledged at its only try, with the one before it. A repeated key proves nothing: its
    id may be of any of its tries."""
    tries = Counter(write.key for write in writes)
    before: Write | None = None
    for write in writes:
        if write.outcome == OK and tries[write.key] == 1:
            if before is not None:
                yield before, write
            before = write


def _is_first_try(history: History, write: Write) -> bool:
    return not any(other.key == write.key and other.began_s < write.began_s for other in history.writes)

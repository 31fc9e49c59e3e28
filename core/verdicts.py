"""What one event came to among others that decide something together: who is in a chat, who asks whom, whose a name is.

Each is a sentence, by the law of what it wrote (core/membership.py, core/contacts.py, core/handles.py). Registers keep
the newest only: of an event that another one of its process has taken the place of, that one is told.
"""

from collections.abc import Iterable

from core.contacts import Asking
from core.handles import Row, holder_of
from core.membership import Membership


def of_add(found: Membership, chat: str, user: str, lane: int, id: int) -> str:
    """Of an add or a join."""
    add = found.adds.get(lane)
    if add is None or add.id != id:
        return f"replaced by {add.id if add else 0}, a later add of {user} by the same process"
    if id <= found.left.get(lane, 0):
        return f"ended: a leave of {user} had seen it (his last one is {found.left_at})"
    beating = sorted(kick for by, kick in found.kicked.items() if add.knew.get(by, 0) < kick)
    if beating:
        return (
            f"lost against kick {_all(beating)}: a kick beats every add that did not know it, whatever the clocks say"
        )
    return f"holds: {user} is in {chat} by it" + (
        f"; it knew of kick {_all(sorted(found.kicked.values()))}" if found.kicked else ""
    )


def of_leave(found: Membership, chat: str, user: str) -> str:
    """A leave takes away only what it had seen."""
    live = sorted(add.id for add in found.live_adds())
    if live:
        return f"{user} is in {chat} all the same: by add {_all(live)}, which the leave had not seen"
    return f"holds: {user} is not in {chat}"


def of_kick(found: Membership, chat: str, user: str, lane: int, id: int) -> str:
    """Of a kick or a ban."""
    if found.kicked.get(lane, 0) != id:
        return f"replaced by {found.kicked.get(lane, 0)}, a later kick of {user} by the same process"
    live = sorted(add.id for add in found.live_adds())
    if live:
        return f"{user} is in {chat} again: by add {_all(live)}, which knew of it"
    beaten = sorted(
        add.id for by, add in found.adds.items() if add.knew.get(lane, 0) < id and add.id > found.left.get(by, 0)
    )
    won = f"; it beats add {_all(beaten)}, which did not know it" if beaten else ""
    return f"holds: {user} is not in {chat}{won}"


def of_request(mine: Asking, his: Asking, user: str, peer: str, lane: int, id: int) -> str:
    """Of a request to be a contact, or the acceptance of one."""
    if mine.asked.get(lane, 0) != id:
        return f"replaced by {mine.asked.get(lane, 0)}, a later request by the same process"
    if id <= mine.ended.get(lane, 0):
        return "ended: a deletion had seen it"
    if his.since():
        return f"holds, as does request {his.since()} of {peer}: the two are contacts"
    return f"holds: {user} asks {peer}, no request of whom holds"


def of_deletion(mine: Asking, user: str, peer: str) -> str:
    """Of a contact's deletion, of one of the two ways. It takes away only what it had seen."""
    if mine.since():
        return f"{user} asks {peer} all the same: by request {mine.since()}, which the deletion had not seen"
    return f"holds: no request of {user} to {peer} is left"


def of_handle(rows: Iterable[Row], handle: str, id: int) -> str:
    """Of a claim or a release: in the order of their ids, a claim takes a name that is free there."""
    known = sorted(rows)
    mine = next(row for row in known if row.event == id)
    before = holder_of(row for row in known if row.event < id)
    if mine.kind == "release":
        if before.user == mine.user:
            return f"holds: it ended claim {before.event} of {handle}"
        return f"changes nothing: {handle} was not {mine.user}'s then"
    if before.user == mine.user:
        return f"changes nothing: {handle} was {mine.user}'s then, by claim {before.event}"
    if before.user:
        taken = f"{handle} was taken, and the earlier claim wins for good"
        return f"lost against claim {before.event} of {before.user}: {taken}"
    end = next((row.event for row in known if row.event > id and (row.kind, row.user) == ("release", mine.user)), 0)
    losers = [
        row.event
        for row in known
        if row.kind == "claim" and row.user != mine.user and id < row.event and (not end or row.event < end)
    ]
    won = f"; it won against claim {_all(losers)}" if losers else ""
    return (f"ended by release {end}" if end else f"holds: {handle} is {mine.user}'s") + won


def _all(ids: Iterable[int]) -> str:
    return " and ".join(map(str, ids))

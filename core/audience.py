"""Who is fed a group's event besides the recipients that its origin named.

A member whose add the origin had not applied yet is missing among the recipients. He is fed where his add is not
covered by what the origin knew, and only once this DC has itself applied all that the origin knew: before that, a
kick that the origin acted on may still be on its way, and feeding him would leak what was written after it.
Feeding every local member leaks; feeding recipients alone misses (tests/models/test_group_feed.py).
"""

from collections.abc import Mapping
from typing import Literal

from core.action import Audience
from core.membership import Membership

Owed = Literal["feed", "wait", "no"]


def covers(v: Mapping[int, int], knew: Mapping[int, int]) -> bool:
    """Is everything that `knew` names applied, where `v` (lane -> id) is?"""
    return all(id <= v.get(lane, 0) for lane, id in knew.items())


def owed(audience: Audience, membership: Membership, applied_v: Mapping[int, int]) -> Owed:
    """Does a local user with this membership, who is not among `audience.users`, get the event?

    "wait": ask again when V has grown to cover `audience.knew`. "no" holds until an add of this user is applied;
    then ask again for the later messages that are already here (back-feeding).
    """
    unknown = any(add.id > audience.knew.get(add.id & 0xFFFF, 0) for add in membership.live_adds())
    if not unknown:
        return "no"
    return "feed" if covers(applied_v, audience.knew) else "wait"

"""Whose a handle is: claims and releases in the order of their ids.

A claim takes a name that is free there, and is lost otherwise, for good: it does not come to life when the name gets
free. So there is never more than one owner, and every datacenter that has the same rows says the same one.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    event: int
    user: str
    kind: str
    """"claim" or "release"."""


NOBODY = Row(0, "", "")


def holder_of(rows: Iterable[Row]) -> Row:
    """The claim that holds; NOBODY where the name is free."""
    owner = NOBODY
    for row in sorted(rows):
        if row.kind == "claim" and not owner.user:
            owner = row
        elif row.kind == "release" and row.user == owner.user:
            owner = NOBODY
    return owner


def concerned(rows: Iterable[Row]) -> set[str]:
    """Whose last word about the name is a claim: they have it, or have lost it to somebody."""
    last = {row.user: row.kind for row in sorted(rows)}
    return {user for user, kind in last.items() if kind == "claim"}

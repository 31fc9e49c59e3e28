"""However many supergroups a user is in: a cursor that was sealed opens, and says nothing that is not so."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cursors import Cursor, Cursors
from core import limits

CURSORS = Cursors(bytes(range(32)))
LANES = {lane: (1 << 63) - 1 - lane for lane in range(1, 40)}


def cursor(chats: int, lanes: int, pts: int, searched: int, begun: int) -> Cursor:
    """`searched` of `chats` are being searched by V, in `begun` of which the search has begun."""
    names = [f"C{(1 << 63) - 1 - n * 7919}" for n in range(chats)]
    waiting = set(names[begun:searched])
    v = {lane: LANES[lane] for lane in list(LANES)[:lanes]}
    channels = {name: 0 if name in waiting else pts for name in names}
    return Cursor("U" + "v" * 63, "fra", 1 << 40, pts, v, channels, ("U" + "v" * 63, *names[:searched]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4_000), st.integers(0, 39), st.integers(1, (1 << 53) - 1), st.data())
def test_a_cursor_that_was_sealed_opens(chats: int, lanes: int, pts: int, data: st.DataObject) -> None:
    searched = data.draw(st.integers(0, chats))
    made = cursor(chats, lanes, pts, searched, data.draw(st.integers(0, searched)))
    text = CURSORS.seal(made)
    assert len(text) <= limits.CURSOR_CHARS_MAX
    found = CURSORS.open(text, made.user)
    assert found.channels.items() <= made.channels.items()
    assert set(found.scan) == {made.user} | set(made.scan) & set(found.channels)
    assert msgspec.structs.replace(found, channels={}, scan=()) == msgspec.structs.replace(made, channels={}, scan=())
    left_out = made.channels.keys() - found.channels.keys()
    not_begun = {name for name in made.scan if made.channels.get(name) == 0}
    assert not_begun <= left_out
    assert CURSORS.holds(made) == (left_out == not_begun)


@pytest.mark.parametrize("searched", [0, 1_000])
def test_a_thousand_supergroups_fit(searched: int) -> None:
    made = cursor(1_000, 39, 1 << 40, searched, searched)
    assert CURSORS.holds(made)
    assert CURSORS.open(CURSORS.seal(made), made.user) == made

"""What the live demo draws: cut to any window, and steady."""

import re

import pytest

from cli.hints import short
from cli.screen import DcLine, Picture, compose, cut

NAMES = ("fra", "iad", "nrt")
ROWS = [DcLine(name, f"http://127.0.0.1:1800{n}", "serving", 1_234_567, n, 12.4, 250, "ab" * 32, f"{name}/0.0")
        for n, name in enumerate(NAMES)]  # fmt: skip
LINKS = {("fra", "iad"): False, ("fra", "nrt"): True, ("iad", "nrt"): False}


def picture(notes: list[str] | None = None, rows: list[DcLine] | None = None) -> Picture:
    return Picture(rows or ROWS, LINKS, notes or [], 3_725.0)


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (120, 40), (80, 9), (40, 12), (20, 3), (2, 1), (1, 1)])
def test_whatever_the_window_nothing_is_drawn_outside_of_it(columns: int, height: int) -> None:
    notes = [f"{n}: 小林 {'x' * 300}" for n in range(50)]
    lines = plain(compose(picture(notes), short(4_194_304, NAMES), columns, height))
    assert len(lines) <= height
    for line in lines:
        assert len(line) + sum(char in "小林" for char in line) <= max(columns - 1, 0) or line == "…"


def test_a_usual_window_holds_everything_and_the_newest_of_what_happened() -> None:
    notes = [f"note {n}" for n in range(50)]
    lines = plain(compose(picture(notes), short(4_194_304, NAMES), 80, 24))
    assert len(lines) == 24
    assert lines[-1] == "note 49"
    assert not any("…" in line for line in lines), "nothing that matters is cut at 80 columns"
    assert any("planb try --demo 4194304" in line for line in lines)
    assert "╳ cut ╳" in next(line for line in lines if line.startswith("links"))


def test_in_a_low_window_the_table_stays() -> None:
    lines = plain(compose(picture(["note"]), short(1, NAMES), 80, 10))
    assert [line[:3] for line in lines[3:6]] == list(NAMES)
    assert lines[-1] == "note"
    assert not any("planb" in line for line in lines)


def test_what_a_dying_server_said_moves_no_cursor() -> None:
    (last,) = compose(picture(["fra: \x1b[2J\x07\rgone\n"]), [], 80, 24)[-1:]
    assert "\x1b[2J" not in last and "\r" not in last and "\n" not in last and "\x07" not in last


def test_where_nothing_came_lately_no_lag_is_claimed() -> None:
    quiet = DcLine("nrt", "http://127.0.0.1:18002", "serving", 7, 0, None, None, "ab" * 32, "nrt/0.0")
    (line,) = (line for line in plain(compose(picture(rows=[quiet]), [], 120, 40)) if line.startswith("nrt"))
    assert line.split() == ["nrt", quiet.url, "serving", "7", "0", "–", "–", "abababab", "=", "nrt/0.0"]


def test_digests_are_marked_as_equal_or_not() -> None:
    other = DcLine("nrt", "", "serving", digest="cd" * 32)
    assert all("=" in line for line in plain(compose(picture(), [], 80, 24))[3:6])
    assert all("≠" in line for line in plain(compose(picture(rows=[*ROWS[:2], other]), [], 80, 24))[3:6])
    down = DcLine("nrt", "", "down")
    assert all("=" in line for line in plain(compose(picture(rows=[*ROWS[:2], down]), [], 80, 24))[3:5])


def test_cutting_counts_what_is_seen() -> None:
    assert cut("abc", 3) == "abc"
    assert plain([cut("abcd", 3)]) == ["ab…"]
    assert cut("\x1b[1mabc\x1b[0m", 3) == "\x1b[1mabc\x1b[0m"
    assert plain([cut("小林小", 5)]) == ["小林…"]
    assert cut("e\u0301e\u0301", 2) == "e\u0301e\u0301"


def test_columns_stay_apart_however_large_the_numbers() -> None:
    slow = DcLine("nrt", "http://127.0.0.1:18002", "serving", 12_345_678, 123_456, 874_100, 1_174_268, "ab" * 32)
    (line,) = (line for line in plain(compose(picture(rows=[slow]), [], 120, 40)) if line.startswith("nrt"))
    assert line.split()[2:7] == ["serving", "12,345k", "123k", "874s", "1,174s"]
    worst = DcLine("nrt", "", "serving", 10**12, 10**10, 1e10, 1e10, "ab" * 32)
    (line,) = (line for line in plain(compose(picture(rows=[worst]), [], 120, 40)) if line.startswith("nrt"))
    assert len(line.split()) == 8, line

"""The command line itself: what a terminal or an argument may be, whatever the command."""

import io
import json
import sys
import tempfile
from pathlib import Path

import pytest

from cli.main import main
from cli.progress import Bar

SETTINGS = """
dc = { name = "fra", number = 1 }
public = { port = 18080 }
sys = { port = 18081 }
[stores]
data_dir = "données→"
objects_dir = "objects"
log_url = "redis://127.0.0.1:1/0"
hot_url = "redis://127.0.0.1:2/0"
[secrets]
token_key_file = "key"
sys_key_file = "key"
signing_key_file = "key"
"""


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: str) -> str:
    """What a command says where the terminal, or the locale, has this encoding."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert main(words) == 0
    out.seek(0)
    return out.read()


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    file = tmp_path / "fra.toml"
    file.write_text(SETTINGS)
    return str(file)


@pytest.mark.parametrize(("encoding", "told"), [("ascii", "donn?es?"), ("latin-1", "données?"), ("utf-8", "données→")])
def test_a_terminal_that_can_not_show_a_character_shows_another_one(
    monkeypatch: pytest.MonkeyPatch, settings_file: str, encoding: str, told: str
) -> None:
    assert told in shown(monkeypatch, encoding, "config", "show", "--config", settings_file, "--text")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_loses_nothing_to_an_encoding(monkeypatch: pytest.MonkeyPatch, settings_file: str, encoding: str) -> None:
    answer = json.loads(shown(monkeypatch, encoding, "config", "show", "--config", settings_file, "--json"))
    assert "données→" in [one["value"] for one in answer["settings"]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("dc", "kill", "fra", "--config", "fra.toml"), "--config is for add and remove"),
        (("dc", "rebuild", "fra", "--lose"), "--lose is for remove"),
        (("dc", "add", "iad", "--config", "fra.toml", "--lose"), "--lose is for remove"),
        (("demo", "--headless", "--stopped", "-5"), "--stopped"),
        (("demo", "--headless", "--stopped", "nan"), "--stopped"),
        (("demo", "--headless", "--messages", "0"), "--messages"),
        (("demo", "--headless", "--messages", "99999999999"), "--messages"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(
    words: tuple[str, ...],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # demos are found there: none of somebody else's
    assert main(words) == 2
    assert why in capsys.readouterr().err


def test_where_nobody_knows_how_much_there_is_no_bar_stands_there_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    terminal = Terminal(raw, encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar()
    bar("copy users", 40, 0)
    bar("verify chunks", 1, 2)
    bar("verify chunks", 2, 2)
    bar.end()
    terminal.flush()
    drawn = raw.getvalue().decode().replace("\x1b[K", "")
    first, second = (line.rpartition("\r")[2] for line in drawn.split("\n")[:2])
    assert first.split() == ["copy", "users", "40"]
    assert second.endswith(f"[{'#' * 30}] 2 of 2")

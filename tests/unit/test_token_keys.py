"""The keys of tokens: their file, how it is changed, and who takes it when it has changed."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.jwt import Claims, Jwt
from api.token_keys import KEYS_MAX, TokenKeys, derived, line_of, named, read_keys
from cli import token_key_file
from core import limits
from core.errors import ConfigError, Invalid
from tests.support.replicated import until

OLD = bytes(range(32))


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    (tmp_path / "token.key").write_bytes(OLD)
    files = SimpleNamespace(token_key_file=tmp_path / "token.key", jwt_keys_file=tmp_path / "jwt.keys")
    return SimpleNamespace(secrets=files)


def test_keys_roll_step_by_step(settings: Any) -> None:
    file = settings.secrets.jwt_keys_file
    old, new = token_key_file.change(settings, "new", "")
    assert old == derived(OLD), "whoever has a token keeps it"
    assert file.stat().st_mode & 0o077 == 0
    assert token_key_file.change(settings, "first", new.name) == (new, old)
    assert token_key_file.present(settings) == (new, old)
    assert token_key_file.change(settings, "drop", old.name) == (new,)
    for what, name in (("drop", new.name), ("first", old.name), ("drop", ""), ("new", "mine")):
        with pytest.raises(Invalid):
            token_key_file.change(settings, what, name)
    assert token_key_file.present(settings) == (new,)
    assert [one.name for one in file.parent.iterdir()].count("jwt.keys.new") == 0


def test_a_file_that_is_none_is_refused_by_line_and_shows_nothing_of_a_key() -> None:
    good = line_of(named(OLD))
    assert read_keys(f"# ours\n\n{good}\n") == (named(OLD),)
    many = "\n".join(line_of(named(bytes([n]) * 32)) for n in range(KEYS_MAX + 1))
    secret = good.split()[0]
    for text in ("", "# none", secret[:-4], f"{good}\n{good}", f"{good}\n{secret}x", many, "\0"):
        with pytest.raises(ConfigError) as refused:
            read_keys(text)
        assert secret[:8] not in str(refused.value)


async def test_a_changed_file_is_taken_and_a_broken_one_changes_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(token_key_file, "LOOK_S", 0.01)
    caplog.set_level(logging.WARNING)
    token_key_file.change(settings, "new", "")
    keys = TokenKeys(token_key_file.present(settings))
    told: list[list[str]] = []
    keys.on_change.append(lambda: told.append(keys.names))
    following = asyncio.create_task(token_key_file.follow(keys, settings))
    try:
        settings.secrets.jwt_keys_file.write_text("rubbish")
        await until(lambda: "stay as they are" in caplog.text)
        assert told == []
        changed = token_key_file.present
        settings.secrets.jwt_keys_file.unlink()
        token_key_file.change(settings, "new", "")
        await until(lambda: bool(told))
        assert told == [[key.name for key in changed(settings)]]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def test_a_token_fits_and_is_of_one_spelling() -> None:
    jwt = Jwt([named(OLD)])
    longest = Claims("i" * 64, "U" + "a" * 63, "s" + "9" * 20, 2**31, 2**32)
    text = jwt.sign(longest)
    assert len(text) <= limits.TOKEN_CHARS_MAX
    assert jwt.read(text) == longest
    assert all(jwt.read(other) is None for other in (text + "=", text + ".", f" {text}", text.replace(".", "..")))
    head, payload, mac = text.split(".")
    last = "BCD"["ABC".find(mac[-1]) if mac[-1] in "ABC" else 0]
    assert jwt.read(f"{head}.{payload}.{mac[:-1]}{last}") is None

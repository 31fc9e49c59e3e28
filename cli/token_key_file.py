"""The file of the keys that sign tokens: read at the start and whenever it changes, so that keys roll without a
restart; and `planb token-keys`, which writes it."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from api.token_keys import KEY_BYTES, TokenKey, TokenKeys, derived, line_of, named, read_keys
from cli import settings as configuration
from cli.settings import Settings
from core.errors import ConfigError, Invalid
from core.system import entropy

log = logging.getLogger(__name__)

LOOK_S = 5.0


def read(path: Path) -> tuple[TokenKey, ...]:
    """ConfigError, which names the file."""
    try:
        return read_keys(configuration.secret(path, 1).decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: no text") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.detail.removeprefix(f'{path}: ')}") from error


def present(settings: Settings) -> tuple[TokenKey, ...]:
    """By the settings: those of the file, or the one that follows from `secrets.token_key_file`."""
    file = settings.secrets.jwt_keys_file
    return read(file) if file else _without_file(settings)


def _without_file(settings: Settings) -> tuple[TokenKey, ...]:
    return (derived(configuration.secret(settings.secrets.token_key_file)),)


async def follow(keys: TokenKeys, settings: Settings) -> None:
    """Takes what the file says whenever it says something else. One that can't be used changes nothing, and is told in
    the log."""
    if settings.secrets.jwt_keys_file is None:
        return
    told = ""
    while True:
        await asyncio.sleep(LOOK_S)  # a period, not a condition
        try:
            changed = keys.replace(await asyncio.to_thread(present, settings))
        except ConfigError as error:
            if error.detail != told:
                log.error("the keys of tokens stay as they are: %s", error.detail)
            told = error.detail
            continue
        told = ""
        if changed:
            log.warning("keys of tokens: %s; the first one signs", ", ".join(keys.names))


def _new(keys: tuple[TokenKey, ...], name: str) -> tuple[TokenKey, ...]:
    if name:
        raise Invalid("a new key gets its name by itself")
    return (*keys, named(entropy(KEY_BYTES)))


def _first(keys: tuple[TokenKey, ...], name: str) -> tuple[TokenKey, ...]:
    return tuple(sorted(keys, key=lambda key: key.name != _known(keys, name)))


def _drop(keys: tuple[TokenKey, ...], name: str) -> tuple[TokenKey, ...]:
    left = tuple(key for key in keys if key.name != _known(keys, name))
    if not left:
        raise Invalid("this is the only key")
    return left


def _known(keys: tuple[TokenKey, ...], name: str) -> str:
    if name not in (key.name for key in keys):
        raise Invalid(f"there is no key {name or 'without a name'}: {', '.join(key.name for key in keys)}")
    return name


CHANGES: dict[str, Callable[[tuple[TokenKey, ...], str], tuple[TokenKey, ...]]] = {
    "new": _new,
    "first": _first,
    "drop": _drop,
}
"""`new`: one more, believed and not signing yet. `first`: it signs. `drop`: what it signed is believed no more."""


def change(settings: Settings, what: str, name: str) -> tuple[TokenKey, ...]:
    """Does it to the file, and answers what it has then. A file that is not there yet begins with the key that was used
    without it. ConfigError, Invalid."""
    file = settings.secrets.jwt_keys_file
    if file is None:
        raise ConfigError("secrets.jwt_keys_file does not say where the keys are", wrong=[])
    keys = read(file) if file.exists() else _without_file(settings)
    keys = CHANGES[what](keys, name)
    read_keys("\n".join(map(line_of, keys)))
    whole = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as written:
        written.write("".join(f"{line_of(key)}\n" for key in keys))
        written.flush()
        os.fsync(written.fileno())
    whole.replace(file)
    return keys


def run(config: Path, verb: str, name: str) -> dict[str, list[str]]:
    """`planb token-keys`: the names there are then, the one that signs first. ConfigError, Invalid."""
    settings = configuration.load(config)
    if verb != "list":
        keys = change(settings, verb, name)
    elif name:
        raise Invalid("list takes no name")
    else:
        keys = present(settings)
    return {"keys": [key.name for key in keys]}

"""What the settings name on this machine: files with secrets and certificates, folders. Whether they can be used."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cli.folders import why_unusable
from cli.settings import KEY_BYTES_MIN, Settings
from cli.settings_keys import leaves_in
from cli.settings_rules import Clash
from events.signing import KEY_BYTES, Signer

KEYS = ("token_key_file", "sys_key_file", "signing_key_file")
_SECRETS = ("password_file", "token_file", "credentials_file", "key_file", "keys_file")
"""How the names of settings end whose files nobody else may read."""
_RIGHT_FILE = "the path of the right file, one that this user may read"


def unusable(settings: Settings) -> Iterator[Clash]:
    """What is wrong with them. Nothing is made, and nothing of a secret is told."""
    for place, value in leaves_in(settings.model_dump()):
        if value is not None and place[-1].endswith("_file"):
            yield from _file(".".join(place), Path(value))
    yield from _own_key(settings)
    folders = {"stores.data_dir": settings.stores.data_dir}
    if settings.stores.objects_dir:
        folders["stores.objects_dir"] = settings.stores.objects_dir
    if not settings.coordination.etcd_endpoints:
        name = "coordination.dir" if settings.coordination.dir else "stores.data_dir"
        folders.setdefault(name, settings.coordination.folder(settings.stores.data_dir))
    for key, folder in folders.items():
        if why := _folder(folder):
            yield Clash((key,), f"{folder} is not usable: {why}", f"a folder that user {os.getuid()} may write in")


def _file(key: str, path: Path) -> Iterator[Clash]:
    name = key.rpartition(".")[2]
    try:
        data, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        yield Clash((key,), f"{path}: {error.strerror}", _how_to_make(name, path))
        return
    if name.endswith(_SECRETS) and mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Clash((key,), f"{path} can be read or written by everybody ({stat.filemode(mode)})", f"chmod 600 {path}")
    if name == "signing_key_file" and len(data) != KEY_BYTES:
        yield Clash((key,), f"{path} has {len(data)} bytes, not {KEY_BYTES}: it is another file", _RIGHT_FILE)
    elif name in KEYS and len(data) < KEY_BYTES_MIN:
        yield Clash((key,), f"{path} has {len(data)} bytes; a key has at least {KEY_BYTES_MIN}", _RIGHT_FILE)
    elif name.endswith("password_file") and len(data.splitlines()) != 1:
        yield Clash((key,), f"{path} has {len(data.splitlines())} lines", "the password in one line")
    elif name not in KEYS and not data.strip():
        yield Clash((key,), f"{path} is empty", _RIGHT_FILE)


def _how_to_make(name: str, path: Path) -> str:
    """Only for what is not there: what is there may be somebody's."""
    made = f"(umask 077; head -c {KEY_BYTES} /dev/urandom > {path})"
    if name == "jwt_keys_file":
        return "a copy of another datacenter's, the same in all; for the first one: planb token-keys new"
    if name == "signing_key_file":
        return f"this datacenter's own, its public part for the others: {made}"
    if name in KEYS:
        return f"a copy of another datacenter's, the same in all; for the first one: {made}"
    return _RIGHT_FILE


def _own_key(settings: Settings) -> Iterator[Clash]:
    """Nobody else may be proven by it."""
    try:
        data = settings.secrets.signing_key_file.read_bytes()
    except OSError:
        return  # said already
    if len(data) != KEY_BYTES:
        return
    own = Signer(data).public
    for name, peer in settings.peers.items():
        if base64.b64decode(peer.public_key) == own:
            yield Clash(
                (f"peers.{name}.public_key",), "it is this datacenter's own", f"that of {name}, by its signing_key_file"
            )


def _folder(folder: Path) -> str:
    try:
        return why_unusable(folder)
    except OSError as error:
        return str(error.strerror)

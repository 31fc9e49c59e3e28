"""How many connections the operating system's limit of open files leaves room for."""

import logging
import resource
from typing import NamedTuple

from core import limits
from core.errors import ConfigError

log = logging.getLogger(__name__)


class Room(NamedTuple):
    """Connections that fit."""

    public: int
    """Of the public listener, websockets included."""
    streams: int
    """Websockets among them."""


def needed(public: int) -> int:
    """Files that have to be open at a time for so many connections of clients."""
    return public + limits.SYS_CONNECTIONS_MAX + limits.FILES_KEPT


def room_of(files: int) -> Room:
    """What fits where so many files may be open."""
    public = min(limits.HTTP_CONNECTIONS_MAX, files - needed(0))
    return Room(public, public * limits.CONNECTIONS_MAX // limits.HTTP_CONNECTIONS_MAX)


def make_room() -> Room:
    """Raises the soft limit as far as it is needed and allowed, and shares out what there is. A limit that is too low
    for all bounds lowers those of the public listener, with a warning; ConfigError if hardly anything would be left."""
    wanted = needed(limits.HTTP_CONNECTIONS_MAX)
    files = _raised(wanted)
    room = room_of(files)
    if room.public < limits.HTTP_CONNECTIONS_MIN:
        raise ConfigError(
            f"at most {files} files may be open (ulimit -n): {needed(limits.HTTP_CONNECTIONS_MIN)} are needed at least,"
            f" {wanted} for all connections"
        )
    if room.public < limits.HTTP_CONNECTIONS_MAX:
        log.warning("at most %d files may be open (ulimit -n): room for %d clients at a time", files, room.public)
    return room


def _raised(wanted: int) -> int:
    """The soft limit, after it was raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError) as error:  # some systems have a further limit of their own
        log.warning("the limit of open files stays at %d: %s", soft, error)
        return soft
    return most

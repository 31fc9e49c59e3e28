"""What went wrong below us, in words for people: what a library's errors look like to their authors is no answer."""

import os


def cause_of(error: BaseException) -> str:
    """Of what a connection, a file or a driver raised; never empty. An error without an errno keeps its kind and text,
    since it may be anything."""
    found = getattr(error, "os_error", error)  # aiohttp's, around the system's own
    if isinstance(found, OSError):
        if (found.errno or 0) > 0:
            return os.strerror(found.errno or 0)
        if found.strerror:  # a name that is not found has no errno of the system's
            return str(found.strerror)
    if isinstance(found, TimeoutError):
        return "no answer in time"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

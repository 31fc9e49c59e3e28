"""Whether a folder that the settings name can be used."""

import os
from pathlib import Path


def why_unusable(folder: Path) -> str:
    """Why nothing could be written there; "" if something could be, also where it would have to be made first. Makes
    nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    disk = os.statvfs(there)
    if not there.is_dir():
        return f"{there} is a file"
    if disk.f_flag & os.ST_RDONLY:
        return f"{there} is on a disk that is mounted read-only"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"this user may not write in {there}"
    return "" if disk.f_blocks else f"{there} is on no disk"

"""One process at a time in a folder."""

import os
import time
from pathlib import Path

# seconds
PATIENCE = 0.05


def lock_folder(folder: Path, refusal: str) -> int | None:
    """Lock a folder until its handle is closed or the process ends, however that happens.

    Args:
        folder: An existing folder.
        refusal: What to say where another process holds it.

    Returns:
        Handle to close, or None on systems without `fcntl`: there, files that are replaced whole
        still keep two processes from mixing theirs.

    Raises:
        ValueError: Another process holds the folder.
    """
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(folder, os.O_RDONLY)
    for wait in (PATIENCE, None):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # somebody who only asks `folder_is_locked` lets go at once
            if wait is not None:
                time.sleep(wait)
                continue
            os.close(handle)
            raise ValueError(refusal) from None
        return handle
    return None


def folder_is_locked(folder: Path) -> bool:
    """Whether a process holds `lock_folder` on a folder; False on systems without `fcntl`."""
    try:
        import fcntl
    except ImportError:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        # shared: two who ask do not take each other for a worker
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False

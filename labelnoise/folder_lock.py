"""One process at a time in a folder."""

import os
from pathlib import Path


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
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(refusal) from None
    return handle

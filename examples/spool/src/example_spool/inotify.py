"""Linux tells of new files in a folder by a descriptor; the standard library does not have that."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ("watch_folder",)

_MOVED_TO, _CLOSE_WRITE = 0x80, 0x8  # sys/inotify.h


def watch_folder(folder: Path) -> int:
    """Returns a descriptor that is readable when a file was moved into ``folder``, or written there.

    :raises OSError: there are too many watches, or the folder is missing.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(folder), _MOVED_TO | _CLOSE_WRITE) < 0:
        number = ctypes.get_errno()
        if descriptor >= 0:
            os.close(descriptor)
        raise OSError(number, os.strerror(number), str(folder))
    return descriptor

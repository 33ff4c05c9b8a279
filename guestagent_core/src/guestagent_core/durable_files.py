"""Files that a crash, or a loss of power, leaves as they were or as they are to be."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ("sync_folder", "write_durably")


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read (mode 0600); it is on the disk when this returns.

    One writer at a time: the content is staged in ``.NAME.new`` beside the file.

    :raises OSError: it cannot be written; what was there before still is.
    """
    staged = path.with_name(f".{path.name}.new")
    staged.unlink(missing_ok=True)
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)
    sync_folder(path.parent)


def sync_folder(path: str | Path) -> None:
    """Waits until the names in a folder, such as those of files that came or went, are on the disk.

    :raises OSError: there is no such folder, or the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

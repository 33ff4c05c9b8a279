"""Files of the guest, read and replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .folders import open_place
from .staging import BACKUPS, Backups, Form, form_of, replace

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("edit_file", "read_file", "write_file")


def write_file(context: Context, path: str, content: bytes, backups: Backups = BACKUPS) -> None:
    """Puts ``content`` at ``path`` of the guest; missing folders are made, and what was there is kept as a backup.

    Mode, owner and label of a file that is there are kept; a new one has the mode 0644 and belongs to root. A link is
    replaced, not followed; mode and owner are then those of the file that it led to.

    :raises OSError: that cannot be done; then everything is as it was.
    """
    with open_place(context.root, path, create=True) as place:
        there = place.look()
        if there is None:
            replace(place, content, Form(0o644), None)
        elif stat.S_ISLNK(there.st_mode):
            replace(place, content, _form_behind(context, path), backups)
        else:
            replace(place, content, form_of(place, path), backups)


def edit_file(context: Context, path: str, edit: Callable[[bytes], bytes]) -> None:
    """Replaces what is at ``path`` of the guest, links followed, by what ``edit`` makes of it; all else is kept.

    :raises OSError: that cannot be done; then everything is as it was.
    """
    with open_place(context.root, path, follow=True) as place:
        form = form_of(place, path)
        descriptor = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.folder)
        with open(descriptor, "rb") as file:
            content = file.read()
        replace(place, edit(content), form, None)


def read_file(context: Context, path: str) -> bytes:
    """Returns the content of the file at ``path`` of the guest; nothing if there is none.

    :raises OSError: it cannot be read.
    """
    try:
        return context.path(path).read_bytes()
    except FileNotFoundError:
        return b""


def _form_behind(context: Context, path: str) -> Form:
    """Returns the form of the file that a link leads to; that of a new file if it leads to none."""
    with suppress(OSError), open_place(context.root, path, follow=True) as place:
        form = form_of(place, path)
        # A label belongs to the place of a file, and set-user-ID to its content; only the rest goes along.
        return Form(form.mode & 0o777, form.owner)
    return Form(0o644)

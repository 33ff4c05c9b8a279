"""The password of an account, set by the system's own program where there is one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core import CommandError

from .files import read_file
from .hashing import hash_password
from .shadow import MASTER_FILE, SHADOW_FILE, edit_master, edit_shadow, field_of

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("checked_password", "set_password")

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # that of every program of a context
_LONGEST = 511  # bytes; what crypt(3) and PAM take


def checked_password(data: bytes) -> str:
    """Returns what a host has encrypted as a password.

    :raises CommandError: no password can be like that; the text does not show it.
    """
    if b"\n" in data or b"\0" in data:
        raise CommandError("The password holds a line break or a NUL byte; it was not changed")
    if len(data) > _LONGEST:
        raise CommandError(f"The password is longer than {_LONGEST} bytes; it was not changed")
    return data.decode()


def set_password(context: Context, user: str, password: str) -> None:
    """Sets the password of ``user``: by ``chpasswd``, FreeBSD's ``pw``, or in the password file itself.

    :raises CommandError: there is no such account, no password file of a known kind, or the program failed.
    :raises OSError: the file cannot be replaced.
    """
    if context.path(SHADOW_FILE).exists():
        if not _chpasswd(context, user, password):
            edit_shadow(context, user, password)
    elif context.path(MASTER_FILE).exists():
        if not _pw(context, user, password):
            edit_master(context, user, password)
    else:
        raise CommandError("Unknown password file format")


def _chpasswd(context: Context, user: str, password: str) -> bool:
    """Returns whether ``chpasswd`` is to be had, and has done it."""
    argv, told = ["chpasswd"], password
    is_other = context.root != Path("/")
    if is_other and (os.geteuid() != 0 or field_of(read_file(context, "/etc/passwd"), user) is None):
        return False  # it changes the root, and looks there
    if is_other or _is_busybox("chpasswd"):
        # In another root PAM may be missing, and BusyBox may hash in the oldest scheme of all.
        old = field_of(read_file(context, SHADOW_FILE), user) or b""
        login_defs = read_file(context, "/etc/login.defs").decode(errors="replace")
        argv, told = ["chpasswd", "-e"], hash_password(password, old.decode(errors="replace"), login_defs)
    if is_other:
        argv += ["-R", str(context.root)]
    try:
        context.run(argv, input=f"{user}:{told}\n".encode())
    except FileNotFoundError:
        return False
    return True


def _pw(context: Context, user: str, password: str) -> bool:
    """Returns whether FreeBSD's ``pw`` is to be had, and has done it."""
    other = [] if context.root == Path("/") else ["-R", str(context.root)]
    try:
        context.run(["pw", *other, "usermod", user, "-h", "0"], input=f"{password}\n".encode())
    except FileNotFoundError:
        return False
    return True


def _is_busybox(program: str) -> bool:
    found = shutil.which(program, path=_PATH)
    return found is not None and Path(os.path.realpath(found)).name.startswith("busybox")

"""Password files edited by hand, where the system has no program for it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from guestagent_core import CommandError

from .files import edit_file, read_file
from .folders import open_place
from .hashing import hash_password
from .staging import form_of, replace

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("MASTER_FILE", "SHADOW_FILE", "edit_master", "edit_shadow", "field_of")

SHADOW_FILE = "/etc/shadow"
MASTER_FILE = "/etc/master.passwd"

_LOCK_FILE = "/etc/.pwd.lock"  # that of lckpwdf(3), which shadow's programs and PAM take
_LOCK_TIME = 15.0  # seconds; what lckpwdf(3) waits too
_LOCK_PAUSE = 0.05  # seconds
_DAY = 24 * 60 * 60  # seconds


def edit_shadow(context: Context, user: str, password: str) -> None:
    """Sets the password of ``user``, and the day of its change, in ``/etc/shadow``.

    :raises CommandError: there is no such account, or another program keeps the file locked.
    :raises OSError: the file cannot be replaced.
    """
    day = str(int(time.time() // _DAY)).encode()
    with _locked(context):
        edit_file(context, SHADOW_FILE, _editor(context, SHADOW_FILE, user, password, day))


def edit_master(context: Context, user: str, password: str) -> None:
    """Sets the password of ``user`` in ``/etc/master.passwd`` and has FreeBSD rebuild its databases.

    :raises CommandError: there is no such account, or the databases cannot be rebuilt; then nothing is changed.
    :raises OSError: the copy for that cannot be written.
    """
    copy = f"{MASTER_FILE}.tmp.{os.getpid()}"
    with _locked(context), open_place(context.root, MASTER_FILE, follow=True) as place:
        content = _editor(context, MASTER_FILE, user, password, b"")(read_file(context, MASTER_FILE))
        form = form_of(place, MASTER_FILE)
    with open_place(context.root, copy) as place:
        replace(place, content, form, None)
    made = context.path(copy)
    other_root = [] if str(context.root) == "/" else ["-d", str(context.path("/etc"))]
    try:
        # It moves the copy into place itself.
        context.run([str(context.path("/usr/sbin/pwd_mkdb")), *other_root, str(made)])
    except (CommandError, OSError) as error:
        with suppress(OSError):
            made.unlink()
        raise CommandError("Rebuilding the passwd database failed") from error


def field_of(content: bytes, user: str) -> bytes | None:
    """Returns the second field of the line of ``user``; None if there is no such line."""
    for line in content.splitlines():
        fields = line.split(b":")
        if fields[0] == user.encode() and len(fields) >= 3:
            return fields[1]
    return None


def _editor(context: Context, path: str, user: str, password: str, day: bytes) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        old = field_of(content, user)
        if old is None:
            raise CommandError(f"There is no account {user!r} in {path}")
        login_defs = read_file(context, "/etc/login.defs").decode(errors="replace")
        hashed = hash_password(password, old.decode(errors="replace"), login_defs).encode()
        lines = content.splitlines(keepends=True)
        for number, line in enumerate(lines):
            fields = line.split(b":")
            if fields[0] == user.encode() and len(fields) >= 3:
                fields[1] = hashed
                if day:
                    ending = fields[2][len(fields[2].rstrip(b"\r\n")) :]
                    fields[2] = day + ending
                lines[number] = b":".join(fields)
        return b"".join(lines)

    return edit


@contextmanager
def _locked(context: Context) -> Iterator[None]:
    """Holds the lock of the password files, as lckpwdf(3) does."""
    with open_place(context.root, _LOCK_FILE, follow=True) as place:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place.name, flags, 0o600, dir_fd=place.folder)
        try:
            end = time.monotonic() + _LOCK_TIME
            while True:
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:  # another program has it; the system call that waits knows no time-out
                    if time.monotonic() > end:
                        raise CommandError(f"Another program keeps {_LOCK_FILE} locked") from None
                    time.sleep(_LOCK_PAUSE)
            yield
        finally:
            os.close(descriptor)

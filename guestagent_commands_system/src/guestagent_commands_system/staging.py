"""A file replaced in one step: whatever happens, there is the old one or the new one, whole, and never neither.

In this order: the new content is staged beside the old file, for nobody else to read; it gets owner, mode and label; it
is on the disk; the old file gets a second name, the backup; the new one takes its name; the folder is on the disk; the
oldest backups go.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from .folders import Place, synchronise

__all__ = ("BACKUPS", "Backups", "Form", "form_of", "replace", "sweep")

_STAGE = re.compile(r"\.guestagent-[0-9a-f]{16}\.stage")
# What goes with the mode: SELinux and Smack labels, and the access list, without which the mode's bits for the group
# mean something else. Capabilities and signatures belong to the content and do not stay.
_LABELS = ("security.selinux", "security.SMACK64", "system.posix_acl_access")
_NO_LABEL = (errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_CHUNK = 1024 * 1024


class Backups(NamedTuple):
    """How the backups of a file are named, and how many are kept."""

    name: Callable[[str, float], str]
    """Makes a name of the file's own and of the time, in seconds since 1970."""
    time: re.Pattern[str]
    """Finds the time in what follows the file's own name in that of a backup."""
    most: int = 5


BACKUPS = Backups(lambda name, now: f"{name}.bak.{now}", re.compile(r"\.bak\.(\d{1,12}(?:\.\d{1,9})?)"))


@dataclass(frozen=True)
class Form:
    """What of a file is not its content."""

    mode: int
    owner: tuple[int, int] = (0, 0)
    labels: dict[str, bytes] = field(default_factory=dict)


def form_of(place: Place, path: str) -> Form:
    """Returns the form of the file at ``place``.

    :param path: what the place is called, for errors.
    :raises OSError: it is no file, but a folder, a device or the like.
    """
    # Opening a device may do something; O_NONBLOCK keeps a queue from waiting for a writer, and only files get that
    # far.
    found = os.lstat(place.name, dir_fd=place.folder)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "Neither a file nor a link to one", path)
    descriptor = _open(place)
    try:
        found = os.fstat(descriptor)
        return Form(stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid), _labels(descriptor))
    finally:
        os.close(descriptor)


def replace(place: Place, content: bytes, form: Form, backups: Backups | None) -> None:
    """Puts a file with ``content`` at ``place``, in the stead of what is there.

    :param backups: how what is there is kept; None if it is not, or if nothing is there.
    :raises OSError: that cannot be done; then what was there is still there.
    """
    sweep(place.folder)
    stage, backup = f".guestagent-{secrets.token_hex(8)}.stage", ""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(stage, flags, 0o600, dir_fd=place.folder)
    try:
        # While this is held, no other agent takes the stage for one that a crash has left.
        with suppress(OSError):  # a file system without locks: nobody takes it there
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(descriptor, content)
        _give_form(descriptor, form)
        os.fsync(descriptor)
        if backups is not None:
            backup = _back_up(place, backups)
        os.rename(stage, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except BaseException:
        for name in (stage, backup):
            with suppress(OSError):
                os.unlink(name, dir_fd=place.folder)
        raise
    finally:
        os.close(descriptor)
    synchronise(place.folder)
    if backups is not None:
        _thin_out(place, backups)


def sweep(folder: int) -> None:
    """Removes what crashes have left in a folder: stages that no process holds."""
    for name in os.listdir(folder):
        if not _STAGE.fullmatch(name):
            continue
        with suppress(OSError):
            descriptor = _open(Place(folder, name))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(descriptor)


def _open(place: Place) -> int:
    return os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place.folder)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest[:_CHUNK]) :]


def _give_form(descriptor: int, form: Form) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, *form.owner)
    os.fchmod(descriptor, form.mode)  # after the owner, for a change of owner takes set-user-ID away
    for name, value in form.labels.items():
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if error.errno not in _NO_LABEL:
                raise


def _labels(descriptor: int) -> dict[str, bytes]:
    labels = {}
    for name in _LABELS if hasattr(os, "getxattr") else ():
        try:
            labels[name] = os.getxattr(descriptor, name)
        except OSError as error:
            if error.errno not in _NO_LABEL:
                raise
    return labels


def _back_up(place: Place, backups: Backups) -> str:
    """Gives what is at ``place`` a second name, and returns that."""
    now = time.time()
    while True:
        name = backups.name(place.name, now)
        try:
            os.link(place.name, name, src_dir_fd=place.folder, dst_dir_fd=place.folder, follow_symlinks=False)
        except FileExistsError:
            now += 1.0
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if _exists(Place(place.folder, name)):
                now += 1.0
                continue
            _copy(place, name)
            return name
        else:
            return name


def _copy(place: Place, name: str) -> None:
    """Does what a second name does, where the file system has none."""
    found = os.lstat(place.name, dir_fd=place.folder)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(place.name, dir_fd=place.folder), name, dir_fd=place.folder)
        return
    descriptor = _open(place)
    with open(descriptor, "rb") as file:
        replace(Place(place.folder, name), file.read(), form_of(place, place.name), None)


def _exists(place: Place) -> bool:
    return place.look() is not None


def _thin_out(place: Place, backups: Backups) -> None:
    """Removes the oldest backups."""
    times = {}
    for name in os.listdir(place.folder):
        if name.startswith(place.name) and (match := backups.time.fullmatch(name, len(place.name))):
            found = Place(place.folder, name).look()
            if found is not None and not stat.S_ISDIR(found.st_mode):  # the original agent moved folders there too
                times[name] = float(match[1])
    for name in sorted(times, key=lambda name: times[name])[: -backups.most]:
        with suppress(OSError):
            os.unlink(name, dir_fd=place.folder)

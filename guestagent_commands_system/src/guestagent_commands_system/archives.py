"""Tar archives, looked through before anything of them is unpacked."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path

from guestagent_core import CommandError

__all__ = ("Archive", "open_archive")

_MOST_MEMBERS = 20_000
_SHOWN = 100  # characters


class Archive:
    """A tar archive that holds nothing but files and folders, and links that stay inside."""

    def __init__(self, archive: tarfile.TarFile, members: list[tarfile.TarInfo]) -> None:
        self._archive = archive
        self._members = members

    def find(self, suffix: str) -> list[str]:
        """Returns the files whose names end with ``suffix``, at the root of the archive or one folder down."""
        names = [posixpath.normpath(member.name) for member in self._members if member.isfile()]
        return [name for name in names if name.endswith(suffix) and name.count("/") <= 1]

    def unpack(self, folder: Path) -> None:
        """Unpacks everything below ``folder``, which has to be new; all of it belongs to this process.

        :raises OSError: that failed.
        """
        for member in self._members:
            member.uid, member.gid, member.uname, member.gname = 0, 0, "", ""
            member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
        # Whether the interpreter has filters depends on its last digit: what they would refuse has been refused.
        if hasattr(tarfile, "tar_filter"):
            self._archive.extractall(folder, self._members, filter="tar")
        else:
            self._archive.extractall(folder, self._members)  # noqa: S202 - see above


@contextmanager
def open_archive(file: Path, shown: str, size_limit: int) -> Iterator[Archive]:
    """Gives the archive in ``file``, of any compression that tarfile knows.

    :param shown: what the file is called in errors.
    :param size_limit: how many bytes all its files together may have.
    :raises CommandError: it is no archive, or holds what may not be unpacked.
    """
    try:
        archive = tarfile.open(file)  # noqa: SIM115 - closed below
    except Exception as error:  # each kind of compression has errors of its own
        raise CommandError(f"{shown}: file could not be opened successfully") from error
    with archive:
        try:
            members = list(_checked(archive, size_limit))
        except CommandError:
            raise
        except Exception as error:
            raise CommandError(f"{shown}: file could not be opened successfully") from error
        yield Archive(archive, members)


def _checked(archive: tarfile.TarFile, size_limit: int) -> Iterator[tarfile.TarInfo]:
    """Gives the members.

    Links are judged by their text alone. That is enough: none replaces a folder, so the folder that a link lies in is
    what its name says; ``..`` comes first in it or not at all, so it goes up from there, and not from where another
    link leads.
    """
    size = 0
    links: set[str] = set()
    files: set[str] = set()
    folders: set[str] = set()
    for count, member in enumerate(archive):
        size += member.size
        if size > size_limit or count >= _MOST_MEMBERS:
            raise CommandError(f"The archive holds more than {size_limit} bytes or {_MOST_MEMBERS} files")
        name = posixpath.normpath(member.name)
        if not _is_inside(member.name) or not links.isdisjoint(_above(name)):
            raise _refused(member, "it lies outside")
        if name in links or (member.issym() and name in files | folders):
            raise _refused(member, "it is there twice")
        folders.update(_above(name))
        if member.issym():
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            steps = [step for step in member.linkname.split("/") if step not in ("", ".")]
            goes_up_late = ".." in dropwhile("..".__eq__, steps)
            if posixpath.isabs(member.linkname) or not _is_inside(target) or goes_up_late:
                raise _refused(member, "it is a link that leads outside")
            links.add(name)
        elif member.islnk():
            if posixpath.normpath(member.linkname) not in files:
                raise _refused(member, "it is a link to what is not in the archive")
            files.add(name)
        elif member.isdir():
            folders.add(name)
        elif member.isfile():
            files.add(name)
        else:
            raise _refused(member, "it is neither a file nor a folder")
        yield member


def _is_inside(name: str) -> bool:
    return not posixpath.isabs(name) and ".." not in name.split("/") and "\0" not in name


def _above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _refused(member: tarfile.TarInfo, why: str) -> CommandError:
    return CommandError(f"The archive is refused: {ascii(member.name)[:_SHOWN]}: {why}")

"""Watches what code does to the machine beside the folders that it was given."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ("ConfinementError", "watch_confinement")

_PATHS = {  # by audit event: which of its arguments are paths
    "open": (0,),
    "os.chflags": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.listdir": (0,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.removexattr": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.scandir": (0,),
    "os.setxattr": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
_STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
_READING = {"os.listdir", "os.scandir"}


class ConfinementError(BaseException):
    """What was done is forbidden, and was kept from happening.

    No Exception: the code under test shall not catch it.
    """


class _Watch:
    """The folders that are free at present, and what was done elsewhere; audit hooks cannot be taken away."""

    def __init__(self) -> None:
        self.folders: tuple[str, ...] | None = None
        self.found: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folders is None:
            return
        if event in _STARTS:
            if not _is_on_stack(f"{__package__.rpartition('.')[0]}.programs"):
                self._refuse(f"started a program by itself ({event}); use self.context.run()")
        elif event in _PATHS:
            reads = event in _READING or (event == "open" and not _is_writing(*arguments[1:3]))
            for index in _PATHS[event]:
                path = arguments[index]
                # A relative path may belong to a folder's descriptor, which the event does not tell.
                if isinstance(path, (str, bytes)) and os.path.isabs(path):
                    self._check(os.fsdecode(path), reads)

    def _check(self, path: str, reads: bool) -> None:
        folders, self.folders = self.folders, None  # what is looked up here is not looked at
        assert folders is not None
        real = os.path.realpath(path)
        self.folders = folders
        # Python itself reads, and caches, what is imported; it is neither the guest's nor the pack's.
        free = (*folders, *_OF_PYTHON) if reads or real.rpartition("/")[0].endswith("__pycache__") else folders
        if not any(f"{real}/".startswith(f"{folder.rstrip('/')}/") for folder in free) and real not in _OF_NOBODY:
            what = "read" if reads else "was about to change"
            self._refuse(f"{what} {path}, which is not below its root; use self.context.path()")

    def _refuse(self, what: str) -> None:
        self.found.append(what)
        raise ConfinementError(what)


# The same whatever the root is: devices, and which boot of the kernel this is.
_OF_NOBODY = ("/dev/null", "/dev/random", "/dev/urandom", "/proc/sys/kernel/random/boot_id")
_OF_PYTHON = tuple(
    {
        os.path.realpath(folder)
        for folder in (
            sys.prefix,
            sys.base_prefix,
            *sysconfig.get_paths().values(),
            *site.getsitepackages(),
            *filter(os.path.isdir, sys.path),
            "/usr/share/zoneinfo",
            "/usr/lib/locale",
            "/usr/share/locale",
        )
    }
    - {"/"}
)
_watch: _Watch | None = None


@contextmanager
def watch_confinement(*folders: Path) -> Iterator[list[str]]:
    """Keeps this process, meanwhile, from touching files outside of ``folders`` and from starting programs.

    Gives the list of what it tried, in words. Programs that go through a context are started all the same.
    """
    global _watch
    if _watch is None:
        _watch = _Watch()
        sys.addaudithook(_watch)
    _watch.found = []
    _watch.folders = tuple(os.path.realpath(folder) for folder in folders)
    try:
        yield _watch.found
    finally:
        _watch.folders = None


def _is_writing(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _is_on_stack(module: str) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False

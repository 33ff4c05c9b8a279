"""Where the programs are that the harness runs, and the library that is built for them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ("Programs", "ProgramsMissingError", "find_programs")

_TOOLS = ("xenstore-write", "xenstore-read", "xenstore-list", "xenstore-rm", "xenstore-chmod", "xenstore-watch")
_SOURCES = ("hypervisor.c", "paths.c")
_DAEMONS_AT = "usr/lib/xen-*/bin"


class ProgramsMissingError(Exception):
    """Something is not installed; the text says what, and how to get it."""


@dataclass(frozen=True)
class Programs:
    """What runs the daemons."""

    daemons: dict[str, Path]
    """The programs ``xenstored`` and ``oxenstored``."""
    preload: Path
    """The library that stands in for the hypervisor."""


@functools.cache
def find_programs() -> Programs:
    """Returns the programs; the first call builds the library.

    The daemons are looked for in the folder ``GUESTAGENT_XEN_UTILS``, into which the package xen-utils has been
    unpacked (installing it would start a toolstack), and where that package would have installed them.

    :raises ProgramsMissingError: one is not there, or does not run here.
    """
    missing = [program for program in ("gcc", *_TOOLS) if shutil.which(program) is None]
    if missing:
        raise ProgramsMissingError(f"{', '.join(missing)} not installed (Debian: gcc, libc6-dev, xenstore-utils)")
    roots = [Path(root) for root in (os.environ.get("GUESTAGENT_XEN_UTILS"), "/") if root]
    folders = [folder for root in roots for folder in sorted(root.glob(_DAEMONS_AT), reverse=True)]
    daemons = {}
    for name in ("xenstored", "oxenstored"):
        found = [folder / name for folder in folders if os.access(folder / name, os.X_OK)]
        if not found:
            raise ProgramsMissingError(
                f"{name} is in none of {', '.join(f'{root}/{_DAEMONS_AT}' for root in roots)}: unpack Debian's "
                "xen-utils-4.17 (apt-get download, dpkg -x) and name the folder in GUESTAGENT_XEN_UTILS"
            )
        daemons[name] = found[0]
        libraries = subprocess.run(["ldd", found[0]], capture_output=True, text=True, check=True).stdout
        lacking = [line.split()[0] for line in libraries.splitlines() if "not found" in line]
        if lacking:
            raise ProgramsMissingError(
                f"{found[0]} lacks {', '.join(lacking)} (Debian: libxenevtchn1, libxengnttab1, libxenmisc4.17)"
            )
    return Programs(daemons, _build())


def _build() -> Path:
    folder = Path(tempfile.gettempdir(), f"guestagent-xen-harness-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ProgramsMissingError(f"{folder} belongs to somebody else")
    sources = [Path(__file__).with_name(name) for name in _SOURCES]
    newest = max(source.stat().st_mtime_ns for source in sources)
    built = folder / f"hypervisor-{newest}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # others may build it at the same time
            result = Path(scratch, built.name)
            subprocess.run(
                ["gcc", "-O2", "-shared", "-fPIC", "-o", result, *sources, "-ldl"], check=True, capture_output=True
            )
            result.replace(built)
    return built

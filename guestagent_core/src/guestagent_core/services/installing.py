"""Putting the service into a machine or an image, and taking it out again."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

from guestagent_core.errors import ConfigError
from guestagent_core.paths import resolve
from guestagent_core.programs import Programs

from .detecting import InitSystem

__all__ = ("install", "uninstall")

_DEFAULT_PROGRAM = "/usr/bin/guestagent"
_PUNCTUATION = "/ . _ + - @ : , ~"  # what neither shells nor systemd give a meaning to inside of a word
_PROGRAM = re.compile(rf"/[\w{re.escape(_PUNCTUATION.replace(' ', ''))}]+")
_MARK = "Written by: guestagent service install"
_STARTING_TIME = 120.0  # seconds; stopping waits for the running command


def install(system: InitSystem, root: Path, program: str, *, start: bool = False) -> list[str]:
    """Writes the service and has it started at every boot; returns what was done, one sentence each.

    With another root than ``/``, no init system is called.

    :param program: the agent's program, a path of the guest.
    :param start: start it now, too.
    :raises ConfigError: somebody else's file is in the way, the program is missing, or the init system refused or could
        not read its path.
    """
    if not _PROGRAM.fullmatch(program):
        raise ConfigError(f"{program!r}: init systems take absolute paths of letters, digits and {_PUNCTUATION} only")
    if not resolve(root, program).is_file():
        raise ConfigError(f"{program}: not there under {root}; name the agent's program with --program")
    text = (Path(__file__).parent / "files" / system.template).read_text()
    done = []
    for path, content, mode in (
        (system.destination, text.replace(_DEFAULT_PROGRAM, program), system.mode),
        *((path, f"# {_MARK}\n{content}", 0o644) for path, content in system.extra),
    ):
        place = _ours(root, path)
        if _write(place, content, mode):
            done.append(f"{path} is written")
    for link in system.links:
        place = resolve(root, link, follow=False)
        if place.parent.parent.is_dir() and (place.parent.is_dir() or system.name != "sysv"):
            place.parent.mkdir(exist_ok=True)
            if not place.is_symlink():
                # Relative, so that it is right in an image as well.
                place.symlink_to(os.path.relpath(resolve(root, system.destination), place.parent))
                done.append(f"{link} is linked")
    _call(system.on_change if done else (), root, done)
    if start:
        _call(system.start, root, done)
    return done


def uninstall(system: InitSystem, root: Path) -> list[str]:
    """Stops the service and removes what :func:`install` wrote; returns what was done.

    What the agent keeps, and its configuration, stay.

    :raises ConfigError: the file is somebody else's, or the init system refused.
    """
    done: list[str] = []
    place = _ours(root, system.destination)
    if place.exists():
        _call(system.stop, root, done)
    for link in system.links:
        with suppress(FileNotFoundError):
            resolve(root, link, follow=False).unlink()
            done.append(f"{link} is removed")
    for path in (system.destination, *(path for path, _ in system.extra)):
        with suppress(FileNotFoundError):
            _ours(root, path).unlink()
            done.append(f"{path} is removed")
    _call(system.on_change if done else (), root, done)
    return done


def _ours(root: Path, path: str) -> Path:
    """Returns where ``path`` lies, if nobody else has written it."""
    place = resolve(root, path, follow=False)
    with suppress(FileNotFoundError):
        if place.is_symlink() or _MARK not in place.read_text(errors="replace"):
            raise ConfigError(f"{path}: somebody else has written it (it does not say {_MARK!r}); move it away first")
    return place


def _write(place: Path, content: str, mode: int) -> bool:
    """Writes a file whole or not at all; returns whether that was necessary."""
    with suppress(FileNotFoundError):
        if place.read_text() == content and place.stat().st_mode & 0o7777 == mode:
            return False
    place.parent.mkdir(parents=True, exist_ok=True)
    staged = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with open(staged, "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(place)
    finally:
        staged.unlink(missing_ok=True)
    return True


def _call(argv: tuple[str, ...], root: Path, done: list[str]) -> None:
    if not argv or root != Path("/"):
        return
    ended = Programs().run(argv, timeout=_STARTING_TIME)
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip()
        raise ConfigError(f"{shlex.join(argv)} failed with exit status {ended.returncode}: {said}")
    done.append(f"{shlex.join(argv)} is done")

"""Paths as the guest sees them, resolved below another root as a chroot would."""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import Path

__all__ = ("resolve",)

_MOST_LINKS = 40  # the kernel's own limit (MAXSYMLINKS)


def resolve(root: Path, guest_path: str | os.PathLike[str], *, follow: bool = True) -> Path:
    """Returns where ``guest_path`` lies on this machine when ``root`` is the guest's ``/``.

    Symbolic links and ``..`` never lead out of ``root``: an absolute link starts again at ``root``. The path need not
    exist. With ``follow=False`` a link in the last place is left as it is.

    :raises OSError: ELOOP, for more than 40 links.
    """
    text = os.fspath(guest_path)
    if root == Path("/"):
        return root / text.lstrip("/")  # the kernel does the rest
    pending = deque(text.split("/"))
    resolved: list[str] = []
    links = 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            del resolved[-1:]
            continue
        target = _link_target(root.joinpath(*resolved, part)) if follow or any(pending) else None
        if target is None:
            resolved.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), text)
        if target.startswith("/"):
            resolved.clear()
        pending.extendleft(reversed(target.split("/")))
    return root.joinpath(*resolved)


def _link_target(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:  # no link, or nothing there
        return None

"""The names below a node, also of one whose list is larger than a message."""

from __future__ import annotations

from pyxs._internal import Op

from .session import DIRECTORY_PART, Session, StoreError

__all__ = ("list_children",)

_MOST_PASSES = 8  # over a folder that changes while it is listed


def list_children(session: Session, path: bytes) -> list[bytes]:
    """Returns the names directly below ``path``, in the daemon's order.

    A large folder that does not keep still is listed as it was at several moments: a name may be gone by now.

    :raises StoreError: ENOENT, it does not exist; E2BIG, the list is larger than a message and the daemon (oxenstored)
        cannot give it in parts; or another.
    :raises SessionLostError: the daemon does not answer.
    """
    try:
        return _names(session.call(Op.DIRECTORY, path))
    except StoreError as error:
        if error.name != "E2BIG":
            raise
        too_large = error
    found: dict[bytes, None] = {}
    for _ in range(_MOST_PASSES):
        first: bytes | None = None
        offset = 0
        while True:
            try:
                part = session.call(DIRECTORY_PART, path, b"%d" % offset)
            except StoreError as error:
                raise too_large if error.name in ("ENOSYS", "EINVAL") else error from None
            generation, _, names = part.partition(b"\0")
            first = generation if first is None else first
            if generation != first:
                break  # it has changed: what comes next may overlap, or leave something out
            found.update(dict.fromkeys(_names(names)))
            if names.endswith(b"\0\0") or names in (b"", b"\0"):
                return list(found)
            offset += len(names)
    return list(found)


def _names(content: bytes) -> list[bytes]:
    return [name for name in content.split(b"\0") if name]

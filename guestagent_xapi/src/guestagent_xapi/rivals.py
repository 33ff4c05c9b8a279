"""Other agents that publish the same keys: whoever writes them second would undo what the first one says."""

from __future__ import annotations

from contextlib import suppress

from .facts import GuestPath

__all__ = ("running_rival",)

_RIVALS = ("xe-daemon", "xen-guest-agent")
_SHOWN = 15  # characters of its name that the kernel keeps of a process


def running_rival(path: GuestPath) -> str | None:
    """Returns the name of another guest agent that runs now, None if there is none."""
    names = {name[:_SHOWN]: name for name in _RIVALS}
    with suppress(OSError):
        for process in path("/proc").iterdir():
            if process.name.isdigit():
                with suppress(OSError):  # it has ended
                    found = names.get((process / "comm").read_text(errors="replace").rstrip("\n"))
                    if found is not None:
                        return found
    return None

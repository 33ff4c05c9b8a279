"""A running machine without one: files in a folder, and what programs that are only asked would say there.

What ``nmcli`` says is in the form of the real one: ``test_live.py`` compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

from guestagent_core import Context

__all__ = ("DEVICES", "FILES", "Connected", "LiveContext", "Running", "plant")

DEVICES = ("nmcli", "--terse", "--escape", "no", "--fields", "DEVICE,STATE,CON-UUID,CONNECTION", "device")
FILES = ("nmcli", "--terse", "--escape", "no", "--fields", "UUID,FILENAME", "connection", "show", "--active")


@dataclass(frozen=True)
class Connected:
    """What NetworkManager has of an interface."""

    state: str
    uuid: str = ""
    profile: str = ""
    file: str = ""


@dataclass(frozen=True)
class Running:
    """What runs on a machine."""

    services: tuple[str, ...] = ()
    """Those that systemd calls active; profiles of netctl among them."""
    manager: Mapping[str, Connected] | None = None
    """What NetworkManager says of interfaces, if it runs."""
    tells_files: bool = True
    """Whether that is a NetworkManager that tells the files of profiles."""
    has_units: bool = True
    """Whether it is a systemd that has a link for each unit that is active."""

    def files(self) -> dict[str, str]:
        """What these leave in ``/run``."""
        found = {"/run/systemd/system/x": "x", **({"/run/NetworkManager/x": "x"} if self.manager is not None else {})}
        if self.has_units:
            active = ("systemd-journald", *self.services)
            found |= {f"/run/systemd/units/invocation:{name}.service": "-> 0123" for name in active}
        return found

    def answer(self, argv: Sequence[str]) -> tuple[int, str]:
        """Returns the exit status and the output of a program."""
        if argv[:2] == ("systemctl", "is-active"):
            active = argv[2].removesuffix(".service") in self.services
            return (0, "active\n") if active else (3, "inactive\n")
        if argv[:2] == ("systemctl", "list-units"):
            lines = (f"{name}.service loaded active exited x\n" for name in self.services if name.startswith("netctl@"))
            return 0, "".join(lines)
        assert tuple(argv) in (DEVICES, FILES), argv
        if self.manager is None:
            return 8, ""
        if tuple(argv) == DEVICES:
            found = self.manager.items()
            return 0, "".join(f"{name}:{each.state}:{each.uuid}:{each.profile}\n" for name, each in found)
        if not self.tells_files:
            return 2, ""
        return 0, "".join(f"{each.uuid}:{each.file}\n" for each in self.manager.values() if each.uuid)


@dataclass(frozen=True)
class LiveContext(Context):
    """The context of a machine that runs, with its files below ``folder``."""

    folder: Path = Path("/nowhere")
    running: Running = field(default_factory=Running)

    def path(self, guest_path: str | os.PathLike[str], *, follow: bool = True) -> Path:
        return Context(root=self.folder).path(guest_path, follow=follow)

    def run(self, argv: Sequence[str], **options: object) -> CompletedProcess[bytes]:
        status, output = self.running.answer(tuple(argv))
        return CompletedProcess(list(argv), status, output.encode(), b"")


def plant(root: Path, files: Mapping[str, str], running: Running | None = None) -> Context:
    """Writes files: a program is an empty one, a link is written ``-> where``; returns the context of the machine."""
    for path, text in {**files, **(running.files() if running is not None else {})}.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text[3:])
        else:
            place.write_text(text)
            place.chmod(0o755 if not text else 0o644)
    return Context(root=root) if running is None else LiveContext(folder=root, running=running)

"""Archives that bring an installer, and what becomes of them."""

from __future__ import annotations

import hashlib
import subprocess
import time

from .conftest import Guest

PATIENCE = 30.0  # seconds
INSTALLER = '#!/bin/sh\necho "installer $PWD $# $(env | grep -v -E "^(PATH|LC_ALL|PWD|SHLVL|_)=")" >> "%s"\n'


def archive(
    guest: Guest, files: dict[str, tuple[str, int]], *names: str, to: str = "/srv/nova-agent-1.40.tar.gz"
) -> str:
    """Makes an archive with the real tar, at ``to``; returns its MD5 digest."""
    source = guest.state.parent / "source"
    for name, (content, mode) in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content)
        (source / name).chmod(mode)
    target = guest.file(to)
    subprocess.run(["tar", "-czf", target, *(names or files)], cwd=source, check=True)
    return hashlib.md5(target.read_bytes()).hexdigest()


def with_installer(guest: Guest, more: str = "", name: str = "installer.sh", mode: int = 0o755) -> str:
    return archive(guest, {name: (INSTALLER % (guest.root / "log") + more, mode)})


def log_of(guest: Guest, lines: int) -> list[str]:
    """Waits for what is written by programs that outlive the call."""
    end = time.monotonic() + PATIENCE
    log = guest.root / "log"
    while time.monotonic() < end:
        if log.exists() and len(log.read_text().splitlines()) >= lines:
            break
        time.sleep(0.02)
    return log.read_text().splitlines() if log.exists() else []


def leftovers(guest: Guest) -> list[str]:
    share = guest.root / "usr/share"
    folder = guest.state / "agentupdate"
    return [
        *(path.name for path in (share.iterdir() if share.exists() else ())),
        *(path.name for path in (folder.iterdir() if folder.exists() else ())),
    ]


URL = "file:///srv/nova-agent-1.40.tar.gz"

"""``agentupdate``: an archive is fetched, checked, unpacked and installed, and the agent restarted."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core import CommandError

from .archives import Archive, open_archive
from .downloads import Source, fetch
from .restart import restart_command
from .running import run_program
from .wheels import install_wheels

if TYPE_CHECKING:
    from guestagent_core import Context

    from .options import UpdateOptions

__all__ = ("update",)

_log = logging.getLogger(__name__)
_INSTALLER = "installer.sh"
_KEPT = ("plan.json", "outcome.log")
_UNPACKED = 4  # times as large as the archive, at most


def update(context: Context, source: Source, options: UpdateOptions) -> None:
    """Installs what ``source`` holds, and has the agent restarted once the answer is out.

    An archive with an ``installer.sh``, at its root or one folder down, is unpacked and that is run. One of wheels is
    installed into the agent's own environment. Any other is left for the start script of the original agent.

    :raises CommandError: that failed; the text says at what.
    """
    folder = context.state_dir / "agentupdate"
    _renew(folder)
    try:
        file = folder / source.local_name
        fetch(context, source, file, options)
        with open_archive(file, source.local_name, options.size_limit * _UNPACKED) as archive:
            installers = [name for name in archive.find(_INSTALLER) if name.rpartition("/")[2] == _INSTALLER]
            if installers:
                _run_installer(context, archive, min(installers, key=len))
            elif archive.find(".whl"):
                install_wheels(context, archive, options)
                return  # the agent is restarted by what watches over the new one
            else:
                _leave_for_start_script(context, file)
        context.after_answer(restart_command(context, options.services))
    finally:
        shutil.rmtree(folder / "unpacked", ignore_errors=True)
        for left in folder.glob(f"*-{os.getpid()}.*"):
            left.unlink()


def _renew(folder: Path) -> None:
    """Makes the folder of downloads, for nobody else to read, without what an earlier crash has left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name not in _KEPT:
            left.unlink()


def _run_installer(context: Context, archive: Archive, installer: str) -> None:
    folder = context.path(f"/usr/share/nova-agent.{os.getpid()}")
    for left in folder.parent.glob("nova-agent.[0-9]*"):  # of an earlier crash; the product's own has no number
        if left.name.rpartition(".")[2].isdigit():
            shutil.rmtree(left, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True)
        archive.unpack(folder)
        program = folder / installer
        if not os.access(program, os.X_OK):
            raise CommandError("[Errno 13] Permission denied")
        done = run_program(context, [str(program)])
        for stream in (done.stdout, done.stderr):
            for line in stream.decode(errors="replace").splitlines():
                _log.info("installer: %s", ascii(line)[1:-1])
        if done.returncode != 0:
            raise CommandError(f"Agent installer script failed: {done.returncode}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _leave_for_start_script(context: Context, file: Path) -> None:
    target = context.path("/var/run") / f"nova-agent.tar.{file.name.rpartition('.')[2]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    # It may come from another file system, and half of it is nothing that a start script may find.
    stage = target.with_name(f".{target.name}.stage")
    shutil.move(file, stage)
    stage.replace(target)

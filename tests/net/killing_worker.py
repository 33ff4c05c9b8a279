"""A worker that kills itself (-9) at the beginning of a step: ``killing_worker.py STATE_DIR STEP [what else to kill]``.

With ``watcher`` the dead-man switch is killed first, so that nobody is left; with ``stop`` the worker hangs instead.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from guestagent_commands_net import worker
from guestagent_commands_net.record import Folder


def main(state_dir: str, step: str, *more: str) -> None:
    me = os.getpid()

    def enter(entered: str) -> None:
        if entered != step or os.getpid() != me:
            return
        if "watcher" in more:
            for child in Path(f"/proc/{me}/task/{me}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
        os.kill(me, signal.SIGSTOP if "stop" in more else signal.SIGKILL)

    worker.work(Folder(Path(state_dir)), recovering=False, enter=enter)


if __name__ == "__main__":
    main(*sys.argv[1:])

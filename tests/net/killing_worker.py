"""A worker that kills itself (-9) at the beginning of a step: ``killing_worker.py STATE_DIR STEP [WHOM...]``.

WHOM is ``watcher``, the dead-man switch, and ``agent=PID``, who are killed first; with ``stop`` the worker only hangs.
``alive=FIFO`` is what somebody waits at.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from guestagent_commands_net.transaction import worker
from guestagent_commands_net.transaction.record import Folder


def main(state_dir: str, step: str, *whom: str) -> None:
    me = os.getpid()

    def enter(entered: str) -> None:
        if entered != step or os.getpid() != me:
            return
        victims = [int(word.partition("=")[2]) for word in whom if word.startswith("agent=")]
        if "watcher" in whom:
            victims += map(int, Path(f"/proc/{me}/task/{me}/children").read_text().split())
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        os.kill(me, signal.SIGSTOP if "stop" in whom else signal.SIGKILL)

    for word in whom:
        if word.startswith("alive="):
            worker.say_alive(word.partition("=")[2])
    worker.work(Folder(Path(state_dir)), recovering=False, enter=enter)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""An agent that asks for a change and is killed with its worker: ``agent.py FILE STATE_DIR STEP WHOM...``.

At the beginning of STEP the worker kills (-9) itself and, as WHOM says, the agent and the dead-man switch. Without STEP
nobody is killed. What an agent writes to its log goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from guestagent_commands_net.applying import apply_change
from guestagent_commands_net.nics import local_nics
from guestagent_commands_net.readers.sources import read_value
from guestagent_commands_net.transaction.launching import launch
from guestagent_core import Context


def main(file: str, state_dir: str, step: str = "", *whom: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    context = Context(state_dir=Path(state_dir))

    def launcher(context: Context, argv: Sequence[str]) -> None:
        killing = [sys.executable, str(Path(__file__).with_name("killing_worker.py")), state_dir, step, *whom]
        killing = [word if word != "agent" else f"agent={os.getpid()}" for word in killing]
        killing.append(f"alive={argv[argv.index('--alive') + 1]}")
        launch(context, argv if "--recover" in argv or not step else killing)

    change = read_value(json.loads(Path(file).read_text()), local_nics(context))
    apply_change(change, context, until=time.monotonic() + 55, launcher=launcher)


if __name__ == "__main__":
    main(*sys.argv[1:])

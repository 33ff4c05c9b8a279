"""What is done when the agent starts: a change of the network that was interrupted is ended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from guestagent_core.agent import Agent

__all__ = ("startup",)

_log = logging.getLogger(__name__)


@hookimpl
def startup(agent: Agent) -> None:
    """Starts the worker for a transaction that has not ended; no command waits for it but the next ``resetnetwork``."""
    state_dir = Path(agent.places["state_dir"])
    if not (state_dir / "net" / "record.json").exists():
        return
    from guestagent_core import Context

    from .transaction.launching import launch, worker_command
    from .transaction.record import Folder

    context = Context(root=Path(agent.places["root"]), state_dir=state_dir, programs=agent.programs)
    try:
        record = Folder(state_dir).record()
        if record is None:  # it has ended meanwhile
            return
        launch(context, worker_command(state_dir, recover=record.id))
    except Exception:  # an agent that answers is worth more than one that refuses all commands
        _log.exception("The change of the network that was interrupted could not be ended")
    else:
        _log.warning("A change of the network was interrupted; it is being ended")

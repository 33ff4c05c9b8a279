"""What a configuration may set in ``[commands.system]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ("Options", "UpdateOptions")


@dataclass(frozen=True)
class UpdateOptions:
    """The table ``[commands.system.agentupdate]``."""

    enabled: bool = False
    """Whether the host may replace the agent: what it sends is run as root."""
    require_sha256: bool = False
    """Whether an MD5 digest, which is what hosts of old send, is refused."""
    require_https: bool = False
    """Whether URLs that begin with ``http:`` are refused."""
    size_limit: int = 256 * 1024 * 1024
    """The largest archive, in bytes. Unpacked it may be four times as large."""
    services: tuple[str, ...] = ("guestagent", "nova-agent")
    """The names by which the agent may be known to the service manager. The first one that is there is restarted."""
    socket: Path = Path("{run_dir}/agent.sock")
    """The socket of the local channel, where a new agent made of wheels has to answer."""
    patience: float = 60.0
    """How long it has for that, in seconds, before the old one is put back."""

    def __post_init__(self) -> None:
        if self.size_limit <= 0 or self.patience <= 0:
            raise ValueError("agentupdate: size_limit and patience have to be more than 0")


@dataclass(frozen=True)
class Options:
    """What ``[commands.system]`` takes."""

    agentupdate: UpdateOptions | None = None
    """The table of ``agentupdate``; without it, the command is not there."""
    testmode: bool = False
    """Whether ``password`` only decrypts and checks what it gets, and answers as if the password were set."""

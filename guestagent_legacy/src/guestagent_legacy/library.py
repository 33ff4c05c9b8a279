"""The functions of the old module ``agentlib``."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from guestagent_core import __version__

from .hashing import crypt
from .interfaces import ethernet_interfaces

if TYPE_CHECKING:
    from .session import Session

__all__ = ("library",)

_log = logging.getLogger(__name__)
_LONGEST_HOST_NAME = 63  # bytes
_NEEDED = (("exchange", ("get_request", "put_response")), ("parser", ("parse_request",)))


def library(session: Session) -> dict[str, Any]:
    """Returns what ``agentlib`` holds, by name; the pairs that are registered go to ``session``."""

    def get_version() -> str:
        """Returns the version of the agent."""
        return __version__

    def get_interfaces() -> list[tuple[str, bool, str]]:
        """Returns (name, up, MAC) of each Ethernet interface."""
        return ethernet_interfaces()

    def register(*plugins: object) -> None:
        """Remembers an exchange and a parser; the agent runs each such pair on its own."""
        if len(plugins) != 2:
            raise TypeError("run() requires 2 plugin instances as arguments")
        for plugin, (kind, names) in zip(plugins, _NEEDED, strict=True):
            for name in names:
                if not hasattr(plugin, name):
                    article = "An" if kind == "exchange" else "A"
                    raise AttributeError(f"{article} '{kind}' plugin needs to define a '{name}' method")
        session.pairs.append((plugins[0], plugins[1]))

    def sethostname(name: object) -> None:
        """Sets the host name of the running kernel, cut at 63 bytes."""
        if not isinstance(name, str):
            raise TypeError("sethostname() argument must be a string")
        if not session.owns_machine:
            _log.warning("The host name is not set: the agent works below another root than /")
            return
        try:
            # The interpreter encodes text for host names; bytes go as they are.
            socket.sethostname(name.encode()[:_LONGEST_HOST_NAME])  # type: ignore[arg-type]  # bytes are taken
        except OSError as error:
            raise SystemError(f"sethostname() failed with errno '{error.errno}'") from error

    def encrypt_password(password: object, salt: object) -> str:
        """Returns the hash of ``password`` by crypt(3)."""
        if not isinstance(password, str) or not isinstance(salt, str):
            raise TypeError("encrypt_password() arguments must be strings")
        return crypt(password, salt)

    functions = (get_version, get_interfaces, register, sethostname, encrypt_password)
    return {function.__name__: function for function in functions}

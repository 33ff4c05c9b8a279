"""The system commands of guestagent: ``keyinit``, ``password``, ``injectfile``, ``file_inject``, ``agentupdate`` and
``kmsactivate``.
"""

from .commands import SystemCommands

__all__ = ("SystemCommands",)

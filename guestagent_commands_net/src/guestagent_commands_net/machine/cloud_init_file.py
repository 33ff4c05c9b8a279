"""cloud-init, which writes the network at each start unless it is told not to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import FileChange
from guestagent_commands_net.reading import find_files, read_text

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("OURS", "disabling_change")

OURS = "/etc/cloud/cloud.cfg.d/99-guestagent-network.cfg"

_MAIN = "/etc/cloud/cloud.cfg"
_DISABLED = re.compile(
    r"""(?m)^network\s*:\s*(?:\{\s*["']?config["']?\s*:\s*["']?disabled\b|(?:\#.*)?\n(?:\s*\#.*\n)*\s+config\s*:\s*["']?disabled\b)"""
)
_TEXT = b"""\
# The host configures the network through guestagent; without this file cloud-init would write it again.
network: {config: disabled}
"""


def disabling_change(context: Context) -> FileChange | None:
    """Returns the file by which cloud-init leaves the network alone; None if it is not there, or does so already."""
    if not context.path(_MAIN).is_file() or context.path("/etc/cloud/cloud-init.disabled").exists():
        return None
    files = [_MAIN, *find_files(context, "/etc/cloud/cloud.cfg.d/*.cfg")]
    if any(_DISABLED.search(read_text(context, path)) for path in files):
        return None
    return FileChange(OURS, _TEXT)

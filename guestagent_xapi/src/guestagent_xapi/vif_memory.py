"""What was before the host set anything: kept over restarts, so that "no setting" undoes just that."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guestagent_core.durable_files import write_durably

__all__ = ("VifMemory",)

_log = logging.getLogger(__name__)


class VifMemory:
    """Remembers, by MAC and family, how a device was configured before the host's first order.

    :param file: is made when there is something to remember.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def recall(self, mac: str, family: str) -> Mapping[str, Any] | None:
        """Returns what was remembered, None if the host has set nothing there."""
        found = self._read().get(mac, {}).get(family)
        return found if isinstance(found, dict) else None

    def remember(self, mac: str, family: str, before: Mapping[str, Any]) -> None:
        """Keeps ``before``, a JSON object.

        :raises OSError: it cannot be written.
        """
        entries = self._read()
        entries.setdefault(mac, {})[family] = dict(before)
        self._write(entries)

    def forget(self, mac: str, family: str) -> None:
        """Forgets what was remembered.

        :raises OSError: that cannot be written.
        """
        entries = self._read()
        if entries.get(mac, {}).pop(family, None) is not None:
            self._write({mac: families for mac, families in entries.items() if families})

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._file.read_bytes())
            if isinstance(entries, dict) and all(isinstance(families, dict) for families in entries.values()):
                return entries
            raise ValueError("it is no table of devices")
        except FileNotFoundError:
            return {}
        except ValueError as error:
            _log.error("%s cannot be understood (%s): what the host has set cannot be undone", self._file, error)
            return {}

    def _write(self, entries: Mapping[str, Any]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._file, json.dumps(entries).encode())

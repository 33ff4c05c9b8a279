"""The development store, with the faces of the real daemons and their guests: what tests without programs run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from guestagent_xen.devstore import DevelopmentStore

__all__ = ("DevelopmentDaemon", "DevelopmentGuest")


class DevelopmentHost:
    """Reads and writes as domain 0."""

    def __init__(self, store: DevelopmentStore) -> None:
        self._store = store
        self.read = store.read
        self.list = store.list

    def write(self, nodes: Mapping[str, bytes]) -> None:
        """Writes values, one after the other."""
        for path, value in nodes.items():
            self._store.write(path, value)

    def remove(self, *paths: str) -> None:
        """Removes nodes and what is below them."""
        for path in paths:
            self._store.remove(path)


class DevelopmentDaemon:
    """A store of this process."""

    def __init__(self, folder: Path) -> None:
        self.store = DevelopmentStore(folder / "s")
        self.socket = self.store.path
        self.host = DevelopmentHost(self.store)

    def kill(self) -> None:
        """Does nothing: a store of this process is emptied and there again at once, by :meth:`start`."""

    def start(self) -> None:
        """Hangs up on everybody and begins anew, empty."""
        self.store.restart()

    def restart(self) -> None:
        """The same, by the name that a real daemon has for it."""
        self.start()


class DevelopmentGuest:
    """A domain of the store."""

    def __init__(self, daemon: DevelopmentDaemon, domid: int) -> None:
        self.domid = domid
        self.home = f"/local/domain/{domid}"
        self.device = daemon.store.add_guest(domid)

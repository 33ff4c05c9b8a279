"""What commands let the host see without being asked: the status of a service."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .errors import ExchangeError
from .protocols import WritableStore

if TYPE_CHECKING:
    from .protocols import Store

__all__ = ("Publications",)

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_@-]{1,64}")
_LONGEST = 1024  # bytes of a value
_MOST = 256  # values in all


class Publications:
    """Every value that has been published, by service and key; one object for the whole agent."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._lock = threading.Lock()
        self._publisher: Callable[[], object] | None = None

    def values(self) -> Mapping[str, str]:
        """Returns all values, by ``SERVICE/KEY``."""
        with self._lock:
            return dict(self._values)

    def publish_by(self, publisher: Callable[[], object] | None) -> None:
        """Has ``publisher`` called after every change, instead of writing to the store of the channel; None: no more.

        It is called in the thread of the command, and has to return at once.
        """
        self._publisher = publisher

    def publish(self, store: Store | None, service: str, key: str, value: str) -> None:
        """Sets a value, and lets the host see it if anything can.

        :param store: the channel's, where values go below ``data/service`` if nobody else writes them.
        :raises ValueError: a name has other characters than ``A-Za-z0-9_@-`` or more than 64, the value has more than
            1024 bytes, or there would be more than 256 values.
        """
        for name in (service, key):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be published: names have 1 to 64 characters of A-Za-z0-9_@-")
        if len(value.encode()) > _LONGEST:
            raise ValueError(f"The value of {service}/{key} has more than {_LONGEST} bytes")
        name = f"{service}/{key}"
        with self._lock:
            if name not in self._values and len(self._values) >= _MOST:
                raise ValueError(f"{name} cannot be published: there are {_MOST} values already")
            self._values[name] = value
        if self._publisher is not None:
            self._publisher()
        elif isinstance(store, WritableStore):
            try:
                store.write(f"data/service/{name}", value.encode())
            except ExchangeError as error:
                _log.warning("%s is not published: %s", name, error)
        else:
            _log.debug("%s is not published: the channel has no way to do that", name)

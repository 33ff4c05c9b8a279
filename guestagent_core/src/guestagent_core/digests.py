"""Digests of requests: what the journal knows a request's data by, without holding it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .protocols import Request

__all__ = ("Digests",)

_KEY_SIZE = 32  # bytes


class Digests:
    """Digests of one installation.

    :param key_path: a file of random bytes, made when the first secret is seen. It is no part of the journal, so that a
        copy of that alone gives nobody the means to guess short secrets.
    """

    def __init__(self, key_path: Path) -> None:
        self._key_path = key_path
        self._key: bytes | None = None

    def digest(self, request: Request, *, secret: bool) -> bytes:
        """Returns the SHA-256 of the data of ``request``, keyed (HMAC) if it is secret.

        :raises OSError: there is no key, and none can be made.
        """
        import hashlib
        import hmac

        data = request.get("data", b"")
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        if not secret:
            return hashlib.sha256(data).digest()
        if self._key is None:
            self._key = _read_key(self._key_path) or _make_key(self._key_path)
        return hmac.digest(self._key, data, "sha256")


def _read_key(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == _KEY_SIZE else None


def _make_key(path: Path) -> bytes:
    from .durable_files import write_durably

    key = os.urandom(_KEY_SIZE)
    write_durably(path, key)
    return key

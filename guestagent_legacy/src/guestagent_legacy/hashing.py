"""crypt(3) by way of the C library: Python 3.13 has no module for it any more."""

from __future__ import annotations

import ctypes
import ctypes.util
import threading

__all__ = ("crypt",)

_NAMES = ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so")
_lock = threading.Lock()  # crypt(3) answers in one buffer of its own


def crypt(password: str, salt: str) -> str:
    """Returns the hash of ``password`` for the field of a password database that ``salt`` begins.

    :raises SystemError: the C library refuses the salt.
    :raises OSError: there is no library with crypt(3).
    """
    secret, setting = password.encode(), salt.encode()
    if b"\0" in secret or b"\0" in setting:
        raise TypeError("must be string without null bytes")
    function = _library().crypt
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    with _lock:
        ctypes.set_errno(0)
        hashed: bytes | None = function(secret, setting)
        number = ctypes.get_errno()
    if hashed is None or hashed.startswith(b"*"):  # libxcrypt answers *0 or *1 in the place of NULL
        raise SystemError(f"crypt() failed with errno: {number}")
    return hashed.decode()


def _library() -> ctypes.CDLL:
    for name in _NAMES:
        try:
            return ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
    return ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so", use_errno=True)

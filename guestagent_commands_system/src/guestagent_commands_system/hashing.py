"""Hashes of passwords, as a shadow file holds them, in the scheme that the guest uses."""

from __future__ import annotations

import ctypes
import re

__all__ = ("hash_password",)

_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_ROUNDS = 5000  # what a SHA-512 hash has that says nothing about rounds
_MOST_ROUNDS = 1_000_000  # some seconds


def hash_password(password: str, old: str, login_defs: str) -> str:
    """Returns a hash of ``password``.

    The scheme is the one that ``login_defs`` asks for, or else that of ``old``, if it is yescrypt or SHA-512. Instead
    of every other, weaker one it is SHA-512, which every system knows.

    :param old: the field that the hash is to replace; the account may be locked.
    :param login_defs: what is in ``/etc/login.defs``.
    """
    method = _setting(login_defs, "ENCRYPT_METHOD").upper()
    if method == "YESCRYPT" or (not method and old.lstrip("!").startswith("$y$")):
        hashed = _yescrypt(password)
        if hashed is not None:
            return hashed
    return _sha512(password, old, login_defs)


def _sha512(password: str, old: str, login_defs: str) -> str:
    # libpass, and not the library of the system: this has to work with any C library, or none that is found.
    from passlib.hash import sha512_crypt

    wished = re.match(r"!*\$6\$rounds=(\d{1,9})\$", old)
    asked = [_setting(login_defs, f"SHA_CRYPT_{end}_ROUNDS") for end in ("MIN", "MAX")]
    numbers = [wished[1] if wished else "", *asked]
    rounds = max([_ROUNDS, *(int(number) for number in numbers if re.fullmatch(r"\d{1,9}", number))])
    return str(sha512_crypt.using(rounds=min(rounds, _MOST_ROUNDS)).hash(password))


def _yescrypt(password: str) -> str | None:
    """Returns a hash by libxcrypt, which most distributions have; None where there is none that can do it."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            make_setting, crypt = library.crypt_gensalt, library.crypt
        except (OSError, AttributeError):  # not there, or that of an old glibc
            continue
        make_setting.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
        crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        make_setting.restype = crypt.restype = ctypes.c_char_p
        setting = make_setting(b"$y$", 0, None, 0)  # the library's own cost and source of randomness
        hashed = crypt(password.encode(), setting) if setting else None
        if hashed and hashed.startswith(b"$y$"):
            return str(hashed, "ascii")
    return None


def _setting(login_defs: str, name: str) -> str:
    found = re.findall(rf"(?m)^[ \t]*{name}[ \t]+(\S+)", login_defs)
    return str(found[-1]) if found else ""

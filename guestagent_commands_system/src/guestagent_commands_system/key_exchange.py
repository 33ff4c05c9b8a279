"""The exchange of keys by which hosts encrypt passwords; its parameters are theirs, and weak.

Diffie-Hellman over a prime of 107 bits, whose discrete logarithms take seconds: it keeps a password out of sight of
those who happen to look, and of nobody who listens and means to. Both sides make an AES key of the shared number in the
way of ``openssl enc``: by MD5 before OpenSSL 1.1, by SHA-256 since. No host says which one it uses.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from guestagent_core import CommandError, InvalidArgumentError

__all__ = ("GENERATOR", "PRIME", "KeyExchange", "decrypt", "public_number")

PRIME = 162259276829213363391578010288127  # 2**107 - 1
GENERATOR = 5

_INVALID = "Invalid password data received"
_BLOCK = 16  # bytes
# The order of the group is 2 * 3 * 107 * 6361 * 69431 * 20394401 * 28059810762433. A number of the order 1, 2, 3 or 6
# leaves the shared number to be guessed; 1 and PRIME - 1 are only the best known of them.
_GUESSED = 6
_LONGEST_SHOWN = 50  # characters


def public_number(value: object) -> int:
    """Returns the public number of a host, which sends it as decimal text or as a number.

    :raises InvalidArgumentError: it is none, or one with which the shared number could be guessed.
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,40}", value.strip()):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        shown = repr(value)
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
        raise InvalidArgumentError(f"invalid literal for int() with base 10: {shown}")
    if not 2 <= number <= PRIME - 2 or pow(number, _GUESSED, PRIME) == 1:
        raise InvalidArgumentError("The public number is not one that makes a secret")
    return number


class KeyExchange:
    """One exchange with one host.

    :param peer: the host's public number, as :func:`public_number` returns it.
    :param private: this side's private number; a random one if it is left out.
    """

    def __init__(self, peer: int, private: int | None = None) -> None:
        if private is None:
            private = 2 + secrets.randbelow(PRIME - 3)
        #: This side's public number.
        self.public = pow(GENERATOR, private, PRIME)
        self._shared = pow(peer, private, PRIME)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Returns the password that ``ciphertext`` holds; see :func:`decrypt`."""
        return decrypt(str(self._shared).encode(), ciphertext)


def decrypt(passphrase: bytes, ciphertext: bytes) -> bytes:
    """Returns what ``openssl aes-128-cbc -nosalt`` has encrypted with ``passphrase``, by either digest.

    It counts as decrypted if the padding is right to the last byte, and the text is UTF-8. By chance that is true of
    both digests once in some ten million times: then the text that ends with a line break is taken, as hosts append
    one, or else what MD5 gives.

    :returns: the text without line breaks around it, and never empty.
    :raises CommandError: neither digest gives one.
    """
    if len(ciphertext) % _BLOCK:
        raise CommandError("Input strings must be a multiple of 16 in length")
    found = [text for key in _keys(passphrase) if (text := _decrypt(key, ciphertext)) is not None]
    text = next((text for text in found if text.endswith(b"\n")), found[0] if found else b"").strip(b"\n")
    if not text:
        raise CommandError(_INVALID)
    return text


def _keys(passphrase: bytes) -> tuple[bytes, bytes]:
    """Returns key and initialisation vector in one, as EVP_BytesToKey makes them of a text, once by each digest."""
    first = hashlib.md5(passphrase, usedforsecurity=False).digest()
    second = hashlib.md5(first + passphrase, usedforsecurity=False).digest()
    return first + second, hashlib.sha256(passphrase).digest()


def _decrypt(key: bytes, ciphertext: bytes) -> bytes | None:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(key[:_BLOCK]), modes.CBC(key[_BLOCK:])).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    length = padded[-1] if padded else 0
    if not 1 <= length <= _BLOCK or padded[-length:] != bytes([length]) * length:
        return None
    try:
        padded[:-length].decode()
    except UnicodeDecodeError:
        return None
    return padded[:-length]

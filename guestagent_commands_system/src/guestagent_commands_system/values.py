"""What hosts send, as the arguments of commands."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field

from guestagent_core import InvalidArgumentError

__all__ = ("Injection", "decoded", "encrypted_password")

_BASE64_FAULT = "Error doing base64 decoding of data"


@dataclass(frozen=True)
class Injection:
    """A file to be put into the guest."""

    path: str
    """A path of the guest, from its ``/`` on."""
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise InvalidArgumentError("[Errno 2] No such file or directory: ''")
        if "\0" in self.path:
            raise InvalidArgumentError("The path holds a NUL byte")

    @classmethod
    def from_text(cls, value: object) -> Injection:
        """Returns the argument of ``injectfile``: in base64, the path, a comma and the content.

        :raises InvalidArgumentError: it is not of that form.
        """
        path, comma, content = decoded(value, _BASE64_FAULT).partition(b",")
        if not comma:
            raise InvalidArgumentError("need more than 1 value to unpack")
        return cls(os.fsdecode(path), content)

    @classmethod
    def from_object(cls, value: object) -> Injection:
        """Returns the argument of ``file_inject``: an object with path and content, each in base64 of its own.

        :raises InvalidArgumentError: it is not of that form.
        """
        if not isinstance(value, dict):
            raise InvalidArgumentError("Invalid arguments")
        if "b64_path" not in value or "b64_file" not in value:
            raise InvalidArgumentError("Missing b64_path or b64_file in dictionary arguments")
        path, content = (decoded(value[key], _BASE64_FAULT) for key in ("b64_path", "b64_file"))
        return cls(os.fsdecode(path), content)


def encrypted_password(value: object) -> bytes:
    """Returns the argument of ``password``.

    :raises InvalidArgumentError: it is not base64.
    """
    return decoded(value, "Couldn't decode base64 data")


def decoded(value: object, fault: str) -> bytes:
    """Returns the bytes of a text in base64, which may be broken into lines.

    :raises InvalidArgumentError: with the text ``fault``, if it is anything else.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(fault)
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):  # ValueError: letters that are not ASCII
        raise InvalidArgumentError(fault) from None

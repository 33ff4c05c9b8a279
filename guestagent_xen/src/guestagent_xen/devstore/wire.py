"""The messages of XenStore, from the daemon's side."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

__all__ = ("HEADER", "LARGEST", "Message", "Op", "RefusedError", "message", "take_messages")

HEADER = struct.Struct("=IIII")  # operation, request id, transaction id, length of what follows
LARGEST = 4096  # bytes that may follow a header


class Op(IntEnum):
    """What can be asked for; the table of pyxs lacks the newer ones."""

    CONTROL = 0
    DIRECTORY = 1
    READ = 2
    GET_PERMS = 3
    WATCH = 4
    UNWATCH = 5
    TRANSACTION_START = 6
    TRANSACTION_END = 7
    INTRODUCE = 8
    RELEASE = 9
    GET_DOMAIN_PATH = 10
    WRITE = 11
    MKDIR = 12
    RM = 13
    SET_PERMS = 14
    WATCH_EVENT = 15
    ERROR = 16
    IS_DOMAIN_INTRODUCED = 17
    RESUME = 18
    SET_TARGET = 19
    RESET_WATCHES = 21
    DIRECTORY_PART = 22


class Message(NamedTuple):
    """One message, as it comes."""

    op: int
    request_id: int
    transaction: int
    content: bytes


class RefusedError(Exception):
    """What is answered instead: the name of an error, as it goes over the wire."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def message(op: int, request_id: int, transaction: int, content: bytes) -> bytes:
    """Returns the bytes of a message."""
    return HEADER.pack(op, request_id, transaction, len(content)) + content


def take_messages(data: bytearray, largest: int) -> list[Message]:
    """Returns the messages that are whole, and takes them out of ``data``.

    :raises ValueError: a message is larger than ``largest``.
    """
    messages = []
    while len(data) >= HEADER.size:
        op, request_id, transaction, length = HEADER.unpack_from(data)
        if length > largest:
            raise ValueError(f"a message of {length} bytes, but {largest} fit")
        end = HEADER.size + length
        if len(data) < end:
            break
        messages.append(Message(op, request_id, transaction, bytes(data[HEADER.size : end])))
        del data[:end]
    return messages

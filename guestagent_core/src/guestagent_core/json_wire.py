"""The JSON wire from the asking side, for the command line; the answering side is a parser plugin."""

from __future__ import annotations

import json
from typing import Any

from .errors import ExchangeError

__all__ = ("SUCCESS", "decode_answer", "encode_request", "read_value")

SUCCESS = ("0", "D0")
"""The return codes that tell of success; D0 is that of keyinit."""


def encode_request(name: str, value: Any) -> bytes:
    """Returns the request to run the command ``name``."""
    return json.dumps({"name": name, "value": value}).encode()


def decode_answer(data: bytes) -> tuple[str, str]:
    """Returns the return code and the message of an answer.

    :raises ExchangeError: it is none.
    """
    try:
        answer = json.loads(data)
        return str(answer["returncode"]), str(answer["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ExchangeError("The answer is not in the JSON format; does the channel have another parser?") from None


def read_value(text: str) -> Any:
    """Returns the value that a person typed: JSON if it is, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

"""The JSON parser's part of ``guestagent demo``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guestagent_core.demo import DemoClient

__all__ = ("show_json",)


def show_json(client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
    """Shows that whatever is sent is answered."""
    print("The wire of XenServer and OpenStack hosts, as bytes; a number for a name, as some host may send it:")
    client.request(b'{"name": "version", "value": "agent"}')
    client.request(b'{"name": 5, "value": ""}')
    print("What is no request is answered too. The original agent answered neither of these:")
    client.request(b"[]")
    client.request('{"name": "café", "value": ""}'.encode())

"""The host's side of the conversation: :class:`GuestClient` asks the agent of a domain.

All of it is in ``__main__.py``, which runs alone: copied to domain 0, with nothing but the standard library of Python
3.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .__main__ import (
        AgentError,
        AgentTimeoutError,
        Answer,
        AnswerError,
        DomainGoneError,
        GuestClient,
        HostError,
        OpensslError,
        RequestTooLargeError,
        StoreError,
    )

__all__ = (
    "AgentError",
    "AgentTimeoutError",
    "Answer",
    "AnswerError",
    "DomainGoneError",
    "GuestClient",
    "HostError",
    "OpensslError",
    "RequestTooLargeError",
    "StoreError",
)


def __getattr__(name: str) -> Any:
    """Imports on first use: ``python -m guestagent_xen.host`` warns of a ``__main__`` that is imported already."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import __main__

    return getattr(__main__, name)

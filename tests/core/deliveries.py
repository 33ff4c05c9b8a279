"""Requests as a dispatcher has them while a command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from guestagent_core.calls import Delivery, current_delivery

AnyDelivery = TypeVar("AnyDelivery", bound=Delivery)


@contextmanager
def delivering(delivery: AnyDelivery) -> Iterator[AnyDelivery]:
    """Has the commands that are run meanwhile be those of ``delivery``."""
    token = current_delivery.set(delivery)
    try:
        yield delivery
    finally:
        current_delivery.reset(token)

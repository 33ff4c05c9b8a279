"""Old command classes: how they are marked, and how they become a pack of today."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from guestagent_core import CommandBase, Context, command

from .threads import current_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("command_add", "current_context", "marked_methods", "pack_of")

_MARK = "agent_command"
_TIMEOUT = 600.0  # seconds; old commands knew no limit, and the longest of the old agent was its update
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

current_context: ContextVar[Context | None] = ContextVar("guestagent_legacy_context", default=None)
"""The context of the old command that this thread runs."""


def command_add(name: str) -> Callable[[FunctionT], FunctionT]:
    """Marks a method of an old command class as the handler of the command ``name``."""

    def mark(function: FunctionT) -> FunctionT:
        setattr(function, _MARK, name)
        return function

    return mark


def marked_methods(instance: object) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Gives the name and the bound method of each command of ``instance``, inherited ones too."""
    for attribute in dir(type(instance)):
        name = getattr(inspect.getattr_static(type(instance), attribute), _MARK, None)
        if isinstance(name, str):
            yield name, getattr(instance, attribute)


def pack_of(instances: Iterable[object], context: Context, base: type[CommandBase] = CommandBase) -> CommandBase:
    """Returns a pack of today that offers the commands of old objects; of two with one name the later one counts.

    The values are kept out of the log, because nothing is known of them.

    :param base: what the pack's class is derived from.
    """
    methods = {name: method for instance in instances for name, method in marked_methods(instance)}
    namespace = {
        f"command_{number}": command(name, secret=True, timeout=_TIMEOUT)(_calling(method))
        for number, (name, method) in enumerate(methods.items())
    }
    cls = type("OldCommands", (base,), namespace)
    pack: CommandBase = object.__new__(cls)
    CommandBase.__init__(pack, context)
    return pack


def _calling(method: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def call(pack: CommandBase, value: Any) -> Any:
        thread = current_thread.get()
        with _running(pack.context):
            result = method(value) if thread is None else thread.call(method, value)
        result = tuple(result) if isinstance(result, list) else result
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], bytes):
            return result[0], result[1].decode(errors="replace")  # what a program printed was text in Python 2
        return result

    return call


@contextmanager
def _running(context: Context) -> Iterator[None]:
    token = current_context.set(context)
    try:
        yield
    finally:
        current_context.reset(token)

"""Commands: how they are written, what is known of them, and what they answer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar, overload

from .context import Context
from .errors import CommandError, InvalidArgumentError

__all__ = (
    "CommandBase",
    "CommandMethod",
    "CommandResult",
    "CommandSpec",
    "checked_result",
    "command",
    "defined_packs",
)

_NAME = re.compile(r"[^\s,'\x00-\x1f\x7f]+")  # `features` separates names by commas

DEFAULT_TIMEOUT = 30.0  # seconds; how long hosts usually wait for an answer


class CommandResult(NamedTuple):
    """What a command answers: a code, 0 for success, and a message, any JSON value.

    A parser whose wire has only text sends a str as it is and anything else as JSON text.
    """

    code: int | str = 0
    message: Any = ""


def checked_result(name: str, result: object) -> CommandResult:
    """Returns what the command ``name`` answered, or whoever answered for it, as a result.

    :raises CommandError: it is none.
    """
    if isinstance(result, tuple) and len(result) == 2:
        code, message = result
        if type(result) is CommandResult and type(code) in (int, str):
            return result
        if isinstance(code, (int, str)) and not isinstance(code, bool):
            return CommandResult(code, message)
    raise CommandError(f"Command {name!r} answered something other than (code, message)")


Result: TypeAlias = "CommandResult | tuple[int | str, Any]"
PackT = TypeVar("PackT", bound="CommandBase")
ArgumentT = TypeVar("ArgumentT")


@dataclass(frozen=True)
class CommandSpec:
    """What is known of a command without running it; the fields are those of :func:`command`."""

    name: str
    args: Callable[[Any], Any] | None = None
    secret: bool = False
    parallel: bool = False
    idempotent: bool = False
    timeout: float = DEFAULT_TIMEOUT
    examples: tuple[Any, ...] = ()

    def parse(self, value: Any) -> Any:
        """Returns the argument that ``args`` makes of a request's value.

        :raises InvalidArgumentError: with the text of whatever ``args`` raised.
        """
        if self.args is None:
            return value
        try:
            return self.args(value)
        except InvalidArgumentError:
            raise
        except (Exception, SystemExit) as error:
            raise InvalidArgumentError(str(error)) from error


class CommandMethod(Generic[PackT, ArgumentT]):
    """What :func:`command` makes of a method: it is called like one, and carries the command's marks."""

    def __init__(self, function: Callable[[PackT, ArgumentT], Result], spec: CommandSpec) -> None:
        self.function = function
        self.spec = spec
        self.resume_function: Callable[[PackT, ArgumentT], Result] | None = None
        self.__doc__ = function.__doc__

    def resume(self, function: Callable[[PackT, ArgumentT], Result]) -> Callable[[PackT, ArgumentT], Result]:
        """Marks ``function`` as the one that takes up a call which a crash of the agent interrupted.

        It is called with the same argument when the request comes again; ``context.call.resumed`` is true in it. How
        far the first attempt came, it has to find out by itself. Without such a method the answer is an error.
        """
        self.resume_function = function
        return function

    @overload
    def __get__(self, instance: None, owner: type[PackT]) -> CommandMethod[PackT, ArgumentT]: ...
    @overload
    def __get__(self, instance: PackT, owner: type[PackT]) -> Callable[[ArgumentT], Result]: ...
    def __get__(
        self, instance: PackT | None, owner: type[PackT]
    ) -> CommandMethod[PackT, ArgumentT] | Callable[[ArgumentT], Result]:
        return self if instance is None else MethodType(self.function, instance)

    def __call__(self, pack: PackT, argument: ArgumentT) -> Result:
        """Runs the method; ``super().method(argument)`` in an override does so too."""
        return self.function(pack, argument)


@overload
def command(
    name: str,
    *,
    args: Callable[[Any], ArgumentT],
    secret: bool = ...,
    parallel: bool = ...,
    idempotent: bool = ...,
    timeout: float = ...,
    examples: Iterable[Any] = ...,
) -> Callable[[Callable[[PackT, ArgumentT], Result]], CommandMethod[PackT, ArgumentT]]: ...
@overload
def command(
    name: str,
    *,
    args: None = ...,
    secret: bool = ...,
    parallel: bool = ...,
    idempotent: bool = ...,
    timeout: float = ...,
    examples: Iterable[Any] = ...,
) -> Callable[[Callable[[PackT, Any], Result]], CommandMethod[PackT, Any]]: ...
def command(
    name: str,
    *,
    args: Callable[[Any], Any] | None = None,
    secret: bool = False,
    parallel: bool = False,
    idempotent: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    examples: Iterable[Any] = (),
) -> Callable[[Callable[[PackT, Any], Result]], CommandMethod[PackT, Any]]:
    """Makes a method of a :class:`CommandBase` subclass the command ``name``.

    The method takes one argument and returns a :class:`CommandResult` or a plain ``(code, message)``. It raises
    :class:`~guestagent_core.errors.CommandError` if it fails.

    :param args: turns the value of a request into the method's argument; whatever it raises is an
        :class:`~guestagent_core.errors.InvalidArgumentError`. Without it, the method gets the value as it came.
    :param secret: the value is kept out of every log.
    :param parallel: the command only reads and may run beside others. All others run one at a time.
    :param idempotent: running it twice does what running it once does, so that it is simply run again when a request
        comes again after a crash. All others are journalled. A parallel command is idempotent.
    :param timeout: in seconds, from the moment the command may run.
    :param examples: values that the command accepts, for documentation and tests.
    :raises ValueError: the name or the time-out cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"A command cannot be named {name!r}: white space, commas and quotes are not allowed")
    if not timeout > 0:
        raise ValueError(f"Command {name!r}: the timeout must be more than 0 seconds, not {timeout!r}")
    spec = CommandSpec(name, args, secret, parallel, idempotent or parallel, float(timeout), tuple(examples))

    def mark(function: Callable[[PackT, Any], Result]) -> CommandMethod[PackT, Any]:
        return CommandMethod(function, spec)

    return mark


class CommandBase:
    """The base of command packs: a subclass offers its methods that are marked with :func:`command`.

    A frozen dataclass named ``Options`` in the subclass declares the options that a configuration may set in
    ``[commands.NAME]``; the validated object is ``self.context.options``.
    """

    command_methods: ClassVar[Mapping[str, CommandMethod[Any, Any]]] = {}
    """The commands of the class and its bases, by the name of the attribute that holds them."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.command_methods = _collect(cls)
        _defined.append(cls)

    def enabled(self, name: str) -> bool:
        """Returns whether the command ``name`` is offered; asked once, when a registry is built. Default: True."""
        return True


_defined: list[type[CommandBase]] = []


def defined_packs() -> tuple[type[CommandBase], ...]:
    """Returns every subclass of :class:`CommandBase` defined so far, in order; an index, not what a registry holds."""
    return tuple(_defined)


def _collect(cls: type[CommandBase]) -> dict[str, CommandMethod[Any, Any]]:
    """Returns the command methods of ``cls`` by attribute: an override without a mark keeps the mark, None ends it."""
    marked: dict[str, CommandMethod[Any, Any]] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, CommandMethod):
                _check_signature(cls, attribute, value.function)
                if value.resume_function is not None:
                    _check_signature(cls, value.resume_function.__name__, value.resume_function)
                marked[attribute] = value
            elif attribute not in marked:
                continue
            elif value is None:
                del marked[attribute]
            elif inspect.isfunction(value):
                _check_signature(cls, attribute, value)
                override: CommandMethod[Any, Any] = CommandMethod(value, marked[attribute].spec)
                override.resume_function = marked[attribute].resume_function
                marked[attribute] = override
            else:
                raise TypeError(
                    f"{cls.__module__}.{cls.__qualname__}.{attribute} overrides the command "
                    f"{marked[attribute].spec.name!r} with something that is not a method"
                )
    return marked


def _check_signature(cls: type[CommandBase], attribute: str, function: Callable[..., Any]) -> None:
    where = f"{cls.__module__}.{cls.__qualname__}.{attribute}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{where}: a command is a plain method, not an async one")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise TypeError(f"{where}: a command takes self and one argument") from None

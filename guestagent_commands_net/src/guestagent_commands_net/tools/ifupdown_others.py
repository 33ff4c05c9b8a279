"""The other programs that read ``/etc/network/interfaces``: ifupdown-ng, and the one of busybox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from guestagent_commands_net.backends import Plan, Step
from guestagent_commands_net.reading import target_of

from .ifupdown import Ifupdown
from .ifupdown_dialects import BUSYBOX, NEXT_GENERATION

if TYPE_CHECKING:
    from guestagent_commands_net.backends import FileChange, Files, Snapshot
    from guestagent_commands_net.model import Change
    from guestagent_core import Context

__all__ = ("BusyboxIfup", "IfupdownNg")

_EXECUTORS = "/usr/libexec/ifupdown-ng"


class IfupdownNg(Ifupdown):
    """The backend ``ifupdown-ng``, which Alpine has."""

    name = "ifupdown-ng"
    priority = 61
    dialect = NEXT_GENERATION
    state = "/run/ifstate"
    program = "ifupdown-ng"
    described = "ifupdown-ng"

    def installed(self, context: Context) -> bool:
        """Returns whether ``ifup`` is that of the tool, whose program Debian alone gives a name of its own."""
        itself = target_of(context, "ifup") == "ifupdown" and context.path(_EXECUTORS).is_dir()
        return itself or super().installed(context)

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``ifquery`` for each interface."""
        argv = ("ifquery", "--interfaces", f"{folder}/etc/network/interfaces")
        return tuple(Step((*argv, each.name), each.name, timeout=10) for each in change.interfaces)


class BusyboxIfup(Ifupdown):
    """The backend ``busybox``: the ``ifup`` that Alpine has at first."""

    name = "busybox"
    priority = 62
    dialect = BUSYBOX
    state = "/var/run/ifstate"
    program = "busybox"
    described = "busybox"

    def validate(self, change: Change, staged: Files, folder: str) -> tuple[Step, ...]:
        """Returns ``ifup -n``, which says what it would do."""
        argv = ("ifup", "-n", "-f", "-i", f"{folder}/etc/network/interfaces")
        return tuple(Step((*argv, each.name), each.name, timeout=10) for each in change.interfaces)

    def plan(self, change: Change, snapshot: Snapshot, changes: Sequence[FileChange]) -> Plan:
        """Returns ``ifdown`` and ``ifup`` of the change's interfaces, with the options that busybox knows."""
        return _shortened(super().plan(change, snapshot, changes))


def _shortened(plan: Plan) -> Plan:
    from dataclasses import replace

    def short(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(
            replace(step, argv=tuple("-f" if word == "--force" else word for word in step.argv)) for step in steps
        )

    sides = (
        replace(side, before=short(side.before), after=short(side.after), harder=short(side.harder))
        for side in (plan.apply, plan.revert)
    )
    return Plan(*sides)

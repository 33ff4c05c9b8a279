"""Running a program of the guest that has to end before the host is answered."""

from __future__ import annotations

from collections.abc import Sequence
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

from guestagent_core import CommandError

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("run_program",)


def run_program(context: Context, argv: Sequence[str]) -> CompletedProcess[bytes]:
    """Runs a program to its end, whatever its exit status.

    :raises CommandError: it cannot be run; in the words that hosts know, which do not name the place where it lies. Or
        it was not done in time.
    """
    try:
        return context.run(argv, check=False)
    except CommandError:  # one of them is a TimeoutError, and so an OSError too
        raise
    except OSError as error:
        raise CommandError(f"[Errno {error.errno}] {error.strerror}") from None

"""The transaction: from a record to the new configuration, or back to the old one.

::

    stage -> validate -> arm -> before -> swap -> apply -> verify -> committed
      |         |         |       '------ '----- '------- '---> roll back -> (rescue) -> ended
      '---------'---------'---> refused: nothing was changed

Which step was begun is on disk, so that :func:`recover` knows after a crash what may have been done. Whether a file was
swapped is not taken from there but looked up in the file itself.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from guestagent_commands_net.netlink import read_state
from guestagent_core import CommandError

from . import staging
from .leftovers import MARK, end_leftovers
from .record import COMMITTED, Folder, Outcome, Record
from .verify import Difference, differences, wait_until_as_expected

if TYPE_CHECKING:
    from guestagent_commands_net.backends import Step, Steps
    from guestagent_commands_net.expectations import Expectation
    from guestagent_core import Context

__all__ = ("STEPS", "Transaction", "recover")

STEPS = ("stage", "validate", "arm", "before", "swap", "apply", "verify", COMMITTED)
"""The steps, in order."""
WAYS_BACK = ("roll back", "rescue")

_GENTLE = 1.0  # seconds that the gentle way gets before the harder one is tried
_FORWARD = 15.0  # seconds for the kernel to be as wanted once the tool has done its work, harder steps included
_BACK = 10.0  # seconds for the kernel to be as it was
_LONGEST_STEP_BACK = 20.0  # seconds


class _FailureError(Exception):
    """A step failed; the text says what."""


class Transaction:
    """Carries out ``record``.

    :param context: of the root that the record is about, with no call.
    :param arm: called before the first change; returns what ends the dead-man switch, once all is done.
    """

    def __init__(
        self, folder: Folder, record: Record, context: Context, arm: Callable[[], Callable[[], None]] | None = None
    ) -> None:
        self.folder = folder
        self.record = record
        self.context = context
        self.log: list[str] = []
        self._arm = arm
        self._step = "begin"
        self._touches_kernel = record.root == "/"

    def run(self) -> Outcome:
        """Goes from the first step to the last, or back; returns how it ended, which is on disk then."""
        disarm: Callable[[], None] = _nothing
        try:
            self._enter("stage")
            staging.stage(self.record.files)
            self._enter("validate")
            self._validate()
            self._enter("arm")
            if self._arm is not None:
                disarm = self._arm()
        except (_FailureError, OSError, CommandError) as error:
            staging.discard(self.record.files)
            return self._end("refused", str(error))
        try:
            self._forward()
        except Exception as error:  # whatever it is: the way back is known
            outcome = self.roll_back(self._explained(str(error) or repr(error)))
        else:
            self._enter(COMMITTED, durable=True)
            staging.discard(self.record.files)
            outcome = self._end(COMMITTED)
        # Not in a `finally`: when even the way back fails, the dead-man switch is to try it again.
        disarm()
        return outcome

    def _forward(self) -> None:
        apply = self.record.plan.apply
        self._enter("before")
        self._run_all(apply.before)
        self._enter("swap")
        staging.swap(self.record.files)
        self._enter("apply")
        if self.record.hostname is not None:
            self._set_hostname(self.record.hostname[1])
        self._run_all(apply.after)
        self._enter("verify")
        until = min(time.monotonic() + _FORWARD, self.record.until)
        left = self._settle(apply, until, self.record.expected)
        if left:
            raise _FailureError("; ".join(str(difference) for difference in left))

    def roll_back(self, error: str, *, kernel: bool = True) -> Outcome:
        """Puts files and kernel back to what the record says they were; returns how that ended.

        :param error: why.
        :param kernel: whether the kernel has to be put back too.
        """
        failed = self._step
        revert = self.record.plan.revert
        self._enter("roll back")
        problems: list[str] = []
        if kernel and staging.swapped(self.record.files):
            self._run_all(revert.before, problems)
        try:
            staging.restore(self.record.files)
        except OSError as problem:
            problems.append(str(problem))
        left: list[Difference] = []
        result = "rolled back"
        if kernel:
            if self.record.hostname is not None:
                self._set_hostname(self.record.hostname[0])
            self._run_all(revert.after, problems)
            # A tool that has failed will not do it later on.
            patience = _GENTLE if problems else _BACK
            left = self._settle(revert, time.monotonic() + patience, self.record.snapshot, problems)
            if left:
                self._enter("rescue")
                result = "rescued"
                left = self._rescue(left, problems)
        if left or any("left as it is" in problem for problem in problems):
            result = "broken"
        self.log += problems
        remaining = (*(str(difference) for difference in left), *(problems if result == "broken" else ()))
        return self._end(result, error, failed, remaining)

    def _rescue(self, left: Sequence[Difference], problems: list[str]) -> list[Difference]:
        """Puts the kernel back by direct netlink; returns what is left."""
        self.log.append("By direct netlink: " + "; ".join(str(difference) for difference in left))
        from .rescue import put_back  # a whole netlink library, needed nowhere else

        problems += put_back(self.record.snapshot)
        return wait_until_as_expected(self.record.snapshot, time.monotonic() + _BACK)

    def _validate(self) -> None:
        """Has the tools themselves check what was staged, in a folder of its own."""
        if not self._touches_kernel or not self.record.validate:
            return
        contents = {**self.record.siblings, **{entry.path: entry.after for entry in self.record.files}}
        modes = {entry.path: entry.mode_after for entry in self.record.files}
        shutil.rmtree(self.folder.check_path, ignore_errors=True)
        try:
            for path, content in contents.items():
                if content is not None:
                    place = self.folder.check_path / path.lstrip("/")
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch(mode=0o600)
                    place.write_bytes(content)
                    place.chmod(modes.get(path, 0o600))
            self._run_all(self.record.validate)
        finally:
            shutil.rmtree(self.folder.check_path, ignore_errors=True)

    def _settle(
        self,
        steps: Steps,
        until: float,
        wanted: Sequence[Expectation],
        problems: list[str] | None = None,
    ) -> list[Difference]:
        """Waits until the kernel is as wanted, with the harder steps where the gentle ones do not suffice."""
        if not self._touches_kernel:
            return []
        if steps.harder:
            gentle = min(time.monotonic() + _GENTLE, until)
            left = wait_until_as_expected(wanted, gentle, pending_is_enough=True)
            differing = {difference.interface for difference in left if not difference.pending}
            if differing and not any(difference.hopeless for difference in left):
                self.log.append("The gentle way did not do: " + "; ".join(map(str, left)))
                harder = [step for step in steps.harder if step.interface is None or step.interface in differing]
                self._run_all(harder, problems)
        return wait_until_as_expected(wanted, until)

    def _explained(self, error: str) -> str:
        """Returns the error with what makes a tool fail and is seen in the kernel alone."""
        if self._touches_kernel and "duplicate address detection" not in error:
            taken = [str(found) for found in differences(self.record.expected, read_state()) if found.hopeless]
            return "; ".join((*taken, error))
        return error

    def _run_all(self, steps: Iterable[Step], problems: list[str] | None = None) -> None:
        """Runs ``steps``; a failure ends it, or is noted in ``problems`` where there is no other way."""
        if not self._touches_kernel:
            return
        for step in steps:
            remaining = self.record.until - time.monotonic() if problems is None else _LONGEST_STEP_BACK
            try:
                done = self.context.run(
                    step.argv,
                    input=step.input,
                    timeout=min(step.timeout, remaining),
                    env={MARK: self.record.id},
                    check=step.check,
                )
            except (CommandError, OSError) as error:
                about = f"{step.interface}: " if step.interface else ""
                text = f"{about}{error}"
                if problems is None:
                    raise _FailureError(text) from error
                problems.append(text)
            else:
                said = done.stderr.decode(errors="replace").strip()[-300:]
                self.log.append(f"{' '.join(step.argv)}: exit status {done.returncode}" + (f": {said}" if said else ""))

    def _set_hostname(self, name: str) -> None:
        if self._touches_kernel:
            try:
                socket.sethostname(name)
            except OSError as error:
                raise _FailureError(f"Couldn't set hostname: {error.strerror}") from error

    def _enter(self, step: str, *, durable: bool = False) -> None:
        self.folder.enter(step, durable=durable)
        self._step = step

    def _end(self, result: str, error: str = "", step: str | None = None, left: tuple[str, ...] = ()) -> Outcome:
        last = self.folder.last()
        names = self.record.names if result == COMMITTED else last.names if last else ()
        step = self._step if step is None else step
        outcome = Outcome(self.record.id, result, "" if not error else step, error, left, tuple(self.log), names)
        self.folder.end(outcome)
        return outcome


def _nothing() -> None:
    pass


def recover(folder: Folder, context: Context, boot_id: str, reason: str) -> Outcome | None:
    """Ends a transaction that was interrupted: forward if it was committed, back if not.

    :param boot_id: which start of the machine this is.
    :param reason: what interrupted it, for the outcome.
    :returns: how it ended; None if there was none.
    """
    record = folder.record()
    if record is None:
        return None
    transaction = Transaction(folder, record, context)
    steps = folder.steps()
    if COMMITTED in steps:
        transaction._step = COMMITTED
        staging.discard(record.files)
        return transaction._end(COMMITTED)
    begun = [step for step in steps if step in STEPS]
    transaction._step = begun[-1] if begun else "begin"
    if record.boot_id == boot_id:
        end_leftovers(record.id)
        changed = any(step in begun for step in STEPS[STEPS.index("before") :])
    else:
        # After a start of the machine the kernel has what the files say.
        changed = staging.swapped(record.files)
    if not changed:
        staging.discard(record.files)
        return transaction._end("refused", reason)
    return transaction.roll_back(reason)

"""The record of a transaction: on disk before anything is changed, with all that is needed to go on or to go back.

It is plain data, so that whoever finds it, after a crash or an upgrade, can act on it without a backend. In the
transaction's folder lie

- ``record.json``: what is to be done, and what was there before; written once,
- ``progress``: a line for each step that was begun,
- ``last.json``: how the last transaction ended,
- ``replaced.json``: the record of the last one that was committed, with the files that it replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from guestagent_commands_net.backends import Plan, Step, Steps
from guestagent_commands_net.expectations import Expectation
from guestagent_core.durable_files import sync_folder, write_durably

__all__ = ("COMMITTED", "FileEntry", "Folder", "Outcome", "Record", "boot_id")

COMMITTED = "committed"
"""The step after which there is no way back, and before which there is one."""
_FORMAT = 1
_PHASES = ("before", "after", "harder")


class FileEntry(NamedTuple):
    """A file that changes: what was there, and what is to be."""

    path: str
    """As the guest sees it."""
    place: str
    """Where it lies on this machine, links resolved."""
    before: bytes | None
    """None: it did not exist."""
    after: bytes | None
    """None: it is removed."""
    mode_before: int = 0o644
    mode_after: int = 0o644
    owner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Record:
    """A transaction."""

    id: str
    root: str
    boot_id: str
    """Which start of the machine it belongs to."""
    until: float
    """The moment of :func:`time.monotonic` at which the change must have succeeded, or is taken back."""
    files: tuple[FileEntry, ...] = ()
    siblings: Mapping[str, bytes] = field(default_factory=dict)
    """Files beside those that change, which the tools' checkers want to see, by their path in the guest."""
    validate: tuple[Step, ...] = ()
    plan: Plan = field(default_factory=Plan)
    expected: tuple[Expectation, ...] = ()
    snapshot: tuple[Expectation, ...] = ()
    hostname: tuple[str, str] | None = None
    """The kernel's host name before and after; None: it stays."""
    names: tuple[str, ...] = ()
    """The interfaces that are configured once this is done."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as what JSON knows."""
        return {
            "format": _FORMAT,
            "id": self.id,
            "root": self.root,
            "boot_id": self.boot_id,
            "until": self.until,
            "files": [_file_to_json(entry) for entry in self.files],
            "siblings": {path: _encode(content) for path, content in self.siblings.items()},
            "validate": [_step_to_json(step) for step in self.validate],
            "apply": _steps_to_json(self.plan.apply),
            "revert": _steps_to_json(self.plan.revert),
            "expected": [expectation.to_json() for expectation in self.expected],
            "snapshot": [expectation.to_json() for expectation in self.snapshot],
            "hostname": self.hostname,
            "names": self.names,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Record:
        """Returns the record that :meth:`to_json` made a value of.

        :raises ValueError: another version of this package wrote it in another form.
        """
        if value["format"] != _FORMAT:
            raise ValueError(f"The record of a transaction has the form {value['format']}, not {_FORMAT}")
        return cls(
            id=value["id"],
            root=value["root"],
            boot_id=value["boot_id"],
            until=value["until"],
            files=tuple(_file_from_json(entry) for entry in value["files"]),
            siblings={path: a2b_base64(content) for path, content in value["siblings"].items()},
            validate=tuple(_step_from_json(step) for step in value["validate"]),
            plan=Plan(_steps_from_json(value["apply"]), _steps_from_json(value["revert"])),
            expected=tuple(Expectation.from_json(expectation) for expectation in value["expected"]),
            snapshot=tuple(Expectation.from_json(expectation) for expectation in value["snapshot"]),
            hostname=None if value["hostname"] is None else (value["hostname"][0], value["hostname"][1]),
            names=tuple(value["names"]),
        )


class Outcome(NamedTuple):
    """How a transaction ended."""

    id: str
    result: str
    """``committed``; ``refused``: nothing was changed; ``rolled back``; ``rescued``: by direct netlink; ``broken``."""
    step: str = ""
    """The step that failed."""
    error: str = ""
    """What failed, with the interface."""
    left: tuple[str, ...] = ()
    """What is not as it was, of a rollback."""
    log: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The interfaces that we configure."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as what JSON knows."""
        return self._asdict()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Outcome:
        """Returns what :meth:`to_json` made a value of."""
        lists = {key: tuple(value[key]) for key in ("left", "log", "names")}
        return cls(**{**value, **lists})


class Folder:
    """The folder in which transactions are kept, readable by nobody else."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "net"
        self.record_path = self.path / "record.json"
        self.progress_path = self.path / "progress"
        self.last_path = self.path / "last.json"
        self.replaced_path = self.path / "replaced.json"
        self.lock_path = self.path / "lock"
        self.check_path = self.path / "check"

    def open_transaction(self) -> bool:
        """Returns whether there is one that has not ended."""
        return self.record_path.exists()

    def begin(self, record: Record) -> None:
        """Puts the record on disk."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self.progress_path.unlink()
        write_durably(self.record_path, json.dumps(record.to_json()).encode())

    def record(self) -> Record | None:
        """Returns the record of the transaction that has not ended, None if there is none.

        :raises ValueError: it cannot be read.
        """
        try:
            return Record.from_json(json.loads(self.record_path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{self.record_path} cannot be read: {error}") from error

    def enter(self, step: str, *, durable: bool = False) -> None:
        """Notes that ``step`` begins; ``durable``: so that even a loss of power does not forget it."""
        descriptor = os.open(self.progress_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, step.encode() + b"\n")
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if durable:
            sync_folder(self.path)

    def steps(self) -> list[str]:
        """Returns the steps that were begun; one that was being written when the power went does not count."""
        try:
            text = self.progress_path.read_text(errors="replace")
        except FileNotFoundError:
            return []
        return text.split("\n")[:-1]

    def forget_unless_begun(self) -> None:
        """Takes the record back if no worker has it in its hands, nor had it."""
        with open(self.lock_path, "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if not self.steps():
                self.record_path.unlink(missing_ok=True)

    def end(self, outcome: Outcome) -> None:
        """Notes how the transaction ended, and forgets it."""
        write_durably(self.last_path, json.dumps(outcome.to_json()).encode())
        with suppress(FileNotFoundError):
            if outcome.result == COMMITTED:
                os.rename(self.record_path, self.replaced_path)
            else:
                self.record_path.unlink()
        with suppress(FileNotFoundError):
            self.progress_path.unlink()
        sync_folder(self.path)

    def last(self) -> Outcome | None:
        """Returns how the last transaction ended, None if there was none."""
        try:
            return Outcome.from_json(json.loads(self.last_path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def boot_id() -> str:
    """Returns what tells this start of the machine from others."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _encode(content: bytes) -> str:
    return b2a_base64(content, newline=False).decode()


def _file_to_json(entry: FileEntry) -> dict[str, Any]:
    contents = {
        name: None if content is None else _encode(content)
        for name, content in (("before", entry.before), ("after", entry.after))
    }
    modes = {"mode_before": entry.mode_before, "mode_after": entry.mode_after, "owner": entry.owner}
    return {"path": entry.path, "place": entry.place, **contents, **modes}


def _file_from_json(value: dict[str, Any]) -> FileEntry:
    contents = {name: None if value[name] is None else a2b_base64(value[name]) for name in ("before", "after")}
    return FileEntry(**{**value, **contents, "owner": (value["owner"][0], value["owner"][1])})


def _step_to_json(step: Step) -> dict[str, Any]:
    return {
        "argv": step.argv,
        "interface": step.interface,
        "input": _encode(step.input),
        "timeout": step.timeout,
        "check": step.check,
    }


def _step_from_json(value: dict[str, Any]) -> Step:
    return Step(**{**value, "argv": tuple(value["argv"]), "input": a2b_base64(value["input"])})


def _steps_to_json(steps: Steps) -> dict[str, Any]:
    return {phase: [_step_to_json(step) for step in getattr(steps, phase)] for phase in _PHASES}


def _steps_from_json(value: dict[str, Any]) -> Steps:
    def of(phase: str) -> Iterator[Step]:
        return (_step_from_json(step) for step in value[phase])

    return Steps(tuple(of("before")), tuple(of("after")), tuple(of("harder")))

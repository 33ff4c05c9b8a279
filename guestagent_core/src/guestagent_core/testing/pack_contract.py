"""What every command pack has to keep."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guestagent_core.commands import CommandBase, CommandResult
from guestagent_core.context import Context
from guestagent_core.errors import CommandError
from guestagent_core.programs import Programs
from guestagent_core.registry import CommandRegistry

from .confinement import ConfinementError, watch_confinement
from .contract import Contract

__all__ = ("CommandPackContract",)

_STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, "", "\0", "\n", "x" * 100_000, "ü", "\ud800", [], [[]], {}, {"a": {"b": []}}),
    *("../../../../../../../../guestagent-outside", "/guestagent-outside", {"path": "/guestagent-outside"}),
)


class CommandPackContract(Contract):
    """The clauses of a command pack; a vendor's test sets the attributes.

    The pack gets its default options, and a scratch root with nothing but :attr:`files`; override the fixture
    ``context`` for others. Programs are recorded, not run: see the fixture ``programs``.
    """

    group = "guestagent.commands"
    pack: ClassVar[type[CommandBase]]
    """The class to test."""
    samples: ClassVar[Mapping[str, Any]]
    """A value that each command accepts, by the command's name."""
    secrets: ClassVar[Sequence[str]] = ()
    """Parts of the samples of secret commands that are secret by themselves, such as a password within a table."""

    files: ClassVar[Mapping[str, str]] = {}
    """Text files that are in the guest, by their path: ``{"/etc/hostname": "alpha\\n"}``."""

    @pytest.fixture
    def context(self, tmp_path: Path, programs: Programs) -> Context:
        """A context with a scratch root; the folders are made."""
        root, state = tmp_path / "root", tmp_path / "state"
        root.mkdir()
        state.mkdir()
        options = self.pack.Options() if hasattr(self.pack, "Options") else None
        return Context(root, options, state, programs)

    @pytest.fixture
    def registry(self, context: Context) -> CommandRegistry:
        """A registry of the pack."""
        return CommandRegistry([self.pack], context)

    @pytest.fixture(autouse=True)
    def _guest(self, context: Context) -> None:
        for path, text in self.files.items():
            file = context.path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    @pytest.fixture(autouse=True)
    def _attributes(self) -> None:
        for name in ("pack", "samples"):
            assert hasattr(self, name), f"{type(self).__name__} needs the attribute {name}; see CommandPackContract"

    def test_every_command_has_a_sample(self, registry: CommandRegistry) -> None:
        """Every command has a sample, so that it is tested.

        Give ``samples`` one value for each command that the pack offers, and none for others.
        """
        without = sorted(set(registry.specs) - set(self.samples))
        unknown = sorted(set(self.samples) - set(registry.specs))
        assert not without, f"samples has no value for {without}"
        assert not unknown, f"samples has values for {unknown}, which the pack does not offer"

    def test_every_command_is_documented(self) -> None:
        """Every command says what it does.

        Give its method a docstring; whoever has to allow or deny it reads that.
        """
        for attribute, method in self.pack.command_methods.items():
            assert method.__doc__ or method.function.__doc__, f"{attribute}: what does {method.spec.name!r} do?"

    def test_samples_are_answered(self, registry: CommandRegistry) -> None:
        """A sample is answered with a code and a message that is a JSON value.

        If a file is missing, give it in ``files``; say what programs answer by the fixture ``programs``. Return
        ``CommandResult(code, message)``, the message of str, numbers, lists and dicts.
        """
        for name, value in self.samples.items():
            result = registry.run_command(name, value)
            assert isinstance(result, CommandResult)
            try:
                json.dumps(result.message, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise AssertionError(f"the message of {name!r} is no JSON value: {error}") from None

    def test_examples_are_valid(self, registry: CommandRegistry) -> None:
        """The examples of a command are values that it accepts.

        Correct ``examples=`` of the command, or its ``args=``.
        """
        for spec in registry.specs.values():
            for example in spec.examples:
                spec.parse(example)

    def test_strange_values_are_answered_or_refused(self, registry: CommandRegistry) -> None:
        """The argument of a command is validated: no value makes it crash.

        Give the command an ``args=`` that raises for what it does not take, and raise CommandError for what fails.
        """
        for name, value in self._strange_requests(registry):
            try:
                registry.run_command(name, value)
            except CommandError:
                pass
            except Exception as error:
                shown = ascii(value)[:40]
                raise AssertionError(f"{name!r} crashed on {shown}: {type(error).__name__}") from error

    def test_secrets_do_not_reach_the_log(
        self, registry: CommandRegistry, context: Context, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The value of a secret command reaches neither the log nor an error, nor the command line of a program.

        Leave the value out of what the pack logs and raises; give programs a secret by ``input=``.
        """
        caplog.set_level(logging.DEBUG)
        for name in [name for name, spec in registry.specs.items() if spec.secret]:
            secrets = [str(self.samples[name]), *self.secrets]
            assert len(secrets[0]) > 3, f"the sample of {name!r} is too short to be recognised in a log"
            shown = ""
            try:
                registry.run_command(name, self.samples[name])
            except CommandError as error:
                shown = str(error)
            argvs = "\n".join(word for run in getattr(context.programs, "runs", ()) for word in run.argv)
            for place, text in (("an error", shown), ("the log", caplog.text), ("a program's arguments", argvs)):
                assert not any(secret in text for secret in secrets), f"{place} holds the value of {name!r}"

    def test_it_stays_within_its_root(
        self, registry: CommandRegistry, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A command touches files only below its root and its state folder, and starts programs only by its context.

        Use ``self.context.path("/etc/...")`` for the guest's files, ``self.context.state_dir`` for the pack's own, and
        ``self.context.run([...])`` for programs.
        """
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        for name, value in (*self.samples.items(), *self._strange_requests(registry)):
            with watch_confinement(context.root, context.state_dir) as found:
                with suppress(Exception, ConfinementError):  # whether it may fail is for other clauses
                    registry.run_command(name, value)
            assert not found, f"{name!r} {found[0]}"
            assert not os.listdir(elsewhere), f"{name!r} wrote into the folder that the agent was started in"

    def test_it_is_found_by_its_entry_point(self) -> None:
        """The installed package offers the pack by its entry point.

        Name the class, or its module, in ``[project.entry-points."guestagent.commands"]`` and install the package anew.
        """
        from guestagent_core.discovery import load_packs

        plugin = self.offered()
        assert self.pack in load_packs(plugin), f"{plugin.entry_point.value} does not lead to {self.pack.__name__}"

    def _strange_requests(self, registry: CommandRegistry) -> Iterator[tuple[str, Any]]:
        for name in registry.specs:
            for value in _STRANGE:
                yield name, value

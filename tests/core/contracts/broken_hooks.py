"""Hooks plugins that each break one clause of the contract: `breaks` says which. Not collected; see test_broken.py."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guestagent_core.errors import CommandError
from guestagent_core.hookspecs import hookimpl
from guestagent_core.testing import HooksContract

_log = logging.getLogger(__name__)
Wrapper = Generator[None, Any, Any]


class Sound:
    """Keeps every clause."""

    def __init__(self) -> None:
        self.file = Path("unused")

    @hookimpl
    def startup(self, agent: Any) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._end.wait)
        self._thread.start()

    @hookimpl
    def shutdown(self, agent: Any) -> None:
        self._end.set()
        self._thread.join()

    @hookimpl
    def plugin_failed(self, error: Any) -> None:
        _log.warning("%s", error.reason)

    @hookimpl
    def authorize(self, call: Any) -> str | None:
        return "not this one" if call.name == "bad" else None

    @hookimpl(wrapper=True)
    def run_command(self, call: Any) -> Wrapper:
        return (yield)


class Held(HooksContract):
    patience = 2.0
    allowed: ClassVar[Any] = [("good", 1)]
    denied: ClassVar[Any] = [("bad", "")]
    make: ClassVar[Callable[[], Any]] = Sound
    breaks: ClassVar[str]

    @pytest.fixture
    def hooks_plugin(self, tmp_path: Path) -> Any:
        plugin = type(self).make()
        plugin.file = tmp_path / "audit"
        return plugin


class TestSound(Held):
    breaks = ""


class TestNamesAnUnknownHook(Held):
    breaks = "test_it_is_accepted"

    class make(Sound):  # noqa: N801 - it stands for the function that makes one
        @hookimpl
        def authorise(self, call: Any) -> None:
            pass


class TestNamesAnUnknownParameter(Held):
    breaks = "test_it_is_accepted"

    class make(Sound):  # noqa: N801
        @hookimpl
        def plugin_failed(self, reason: Any) -> None:
            pass


class TestHasADefault(Held):
    breaks = "test_no_parameter_has_a_default"

    class make(Sound):  # noqa: N801
        @hookimpl
        def authorize(self, call: Any = None) -> str | None:
            return None


class TestLeavesAThread(Held):
    breaks = "test_it_starts_and_ends"

    class make(Sound):  # noqa: N801
        @hookimpl
        def startup(self, agent: Any) -> None:
            threading.Thread(target=time.sleep, args=(1,), daemon=True).start()

        @hookimpl
        def shutdown(self, agent: Any) -> None:
            pass


class TestNeverStarts(Held):
    breaks = "test_it_starts_and_ends"
    patience = 0.2

    class make(Sound):  # noqa: N801
        @hookimpl
        def startup(self, agent: Any) -> None:
            time.sleep(1)


class TestHasNoSamples(Held):
    breaks = "test_a_policy_has_samples"
    denied = ()


class TestDeniesByFalse(Held):
    breaks = "test_allowed_calls_pass"

    class make(Sound):  # noqa: N801
        @hookimpl
        def authorize(self, call: Any) -> Any:
            return "no" if call.name == "bad" else False


class TestDeniesWithoutAReason(Held):
    breaks = "test_denied_calls_have_a_reason"

    class make(Sound):  # noqa: N801
        @hookimpl
        def authorize(self, call: Any) -> Any:
            return False if call.name == "bad" else None


class TestDeniesNothing(Held):
    breaks = "test_denied_calls_have_a_reason"

    class make(Sound):  # noqa: N801
        @hookimpl
        def authorize(self, call: Any) -> None:
            return None


class TestTrustsTheArgument(Held):
    breaks = "test_a_policy_decides_about_strange_arguments"

    class make(Sound):  # noqa: N801
        @hookimpl
        def authorize(self, call: Any) -> str | None:
            return "no" if call.argument.startswith("/") else None


class TestForgetsTheResult(Held):
    breaks = "test_results_and_errors_are_passed_on"

    class make(Sound):  # noqa: N801
        @hookimpl(wrapper=True)
        def run_command(self, call: Any) -> Wrapper:
            yield
            return (0, "")


class TestHidesTheError(Held):
    breaks = "test_results_and_errors_are_passed_on"

    class make(Sound):  # noqa: N801
        @hookimpl(wrapper=True)
        def run_command(self, call: Any) -> Wrapper:
            try:
                return (yield)
            except CommandError as error:
                raise CommandError("it failed") from error


class TestAnswersInstead(Held):
    breaks = "test_the_command_is_run_once"

    class make(Sound):  # noqa: N801
        @hookimpl
        def run_command(self, call: Any) -> Any:
            return (0, "done")


class TestLogsASecret(Held):
    breaks = "test_secrets_are_written_nowhere"

    class make(Sound):  # noqa: N801
        @hookimpl(wrapper=True)
        def run_command(self, call: Any) -> Wrapper:
            _log.info("%s %s", call.name, call.value)
            return (yield)


class TestFilesASecret(Held):
    breaks = "test_secrets_are_written_nowhere"

    class make(Sound):  # noqa: N801
        @hookimpl(wrapper=True)
        def run_command(self, call: Any) -> Wrapper:
            self.file.write_text(str(call.argument))
            return (yield)


class TestTellsASecret(Held):
    breaks = "test_secrets_are_written_nowhere"

    class make(Sound):  # noqa: N801
        @hookimpl
        def authorize(self, call: Any) -> str | None:
            return f"{call.argument} is forbidden" if call.name == "bad" else None


class TestMindsTheFailuresOfOthers(Held):
    breaks = "test_failures_of_others_are_survived"

    class make(Sound):  # noqa: N801
        @hookimpl
        def plugin_failed(self, error: Any) -> None:
            raise error


class TestAllowsOneAtATime(Held):
    breaks = "test_several_threads_may_call_at_once"

    class make(Sound):  # noqa: N801
        _running: Any = None

        @hookimpl(wrapper=True)
        def run_command(self, call: Any) -> Wrapper:
            if self._running is not None:
                raise RuntimeError(f"{self._running.name} is running")
            self._running = call
            time.sleep(0.001)
            try:
                return (yield)
            finally:
                self._running = None


class TestIsNotInstalled(Held):
    breaks = "test_it_is_found_by_its_entry_point"
    entry_point = "nowhere"

"""The context: files, programs, the store and the running call, as a command meets them."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import (
    Call,
    ChannelRunner,
    CommandBase,
    CommandError,
    CommandRegistry,
    CommandResult,
    CommandSpec,
    CommandTimeoutError,
    Context,
    command,
)
from guestagent_core.calls import Delivery
from guestagent_core.programs import OUTPUT_LIMIT, Programs

from .deliveries import delivering

PATIENCE = 60.0  # seconds; how long anything may take before it counts as hanging


class Detached(Programs):
    """Programs that are only noted, and of which one may be missing."""

    def __init__(self, missing: str = "") -> None:
        super().__init__()
        self.missing = missing
        self.argvs: list[list[str]] = []

    def detach(self, argv: Sequence[str], *, service_manager: bool) -> None:
        self.argvs.append(list(argv))
        if argv[0] == self.missing:
            raise CommandError(f"{argv[0]} could not be started: not found")


class Values(dict[str, bytes]):
    """A store of nothing but what it is built with."""

    def read(self, path: str) -> bytes | None:
        return self.get(path)

    def list(self, path: str) -> list[str]:
        return sorted(self)


class Pack(CommandBase):
    """Commands that do what the test says."""

    def __init__(self, body: Callable[[Context], Any], context: Context | None = None) -> None:
        super().__init__(context or Context())
        self.body = body

    @command("do", timeout=50)
    def do(self, value: object) -> CommandResult:
        return CommandResult(0, self.body(self.context))

    @command("do.briefly", timeout=0.3)
    def do_briefly(self, value: object) -> CommandResult:
        return CommandResult(0, self.body(self.context))


def perform(body: Callable[[Context], Any], context: Context | None = None, name: str = "do") -> Any:
    """Runs ``body`` as a command and returns what it returned."""
    return CommandRegistry([Pack(body, context)]).run_command(name).message


def test_paths_lie_below_the_root(tmp_path: Path) -> None:
    assert Context().path("etc/motd") == Path("/etc/motd")
    context = Context(root=tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "link").symlink_to("/../../etc/motd")
    assert context.path("/etc/motd") == context.path("etc/motd") == context.path("etc/link") == tmp_path / "etc/motd"
    assert context.path(Path("/etc/link"), follow=False) == tmp_path / "etc/link"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop") as caught:
        context.path("loop")
    assert caught.value.errno == errno.ELOOP


# Programs


def test_a_failed_program_is_an_error_with_what_it_said_last() -> None:
    script = (
        'echo not this; echo "first words" >&2; head -c 600 /dev/zero | tr "\\0" x >&2; echo " last words" >&2; exit 7'
    )
    with pytest.raises(CommandError) as caught:
        Context().run(["sh", "-c", script])
    text = str(caught.value)
    assert text.startswith("sh failed with exit status 7: xxx")
    assert text.endswith("xxx last words")
    assert "first words" not in text


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("exit 3", "sh failed with exit status 3"),
        ("kill -KILL $$", "sh failed with signal 9"),
        ("printf 'caf\\351' >&2; exit 1", "sh failed with exit status 1: caf\ufffd"),
    ],
)
def test_a_failed_program_that_says_nothing_or_garbage_is_an_error_too(script: str, text: str) -> None:
    with pytest.raises(CommandError) as caught:
        Context().run(["sh", "-c", script])
    assert (str(caught.value), caught.value.code) == (text, 500)


def test_without_check_the_exit_status_is_the_callers_affair() -> None:
    done = Context().run(["sh", "-c", "cat; echo said >&2; exit 7"], input=b"given", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"given", b"said\n")


def test_the_arguments_of_a_program_are_passed_on(tmp_path: Path) -> None:
    done = Context().run(["sh", "-c", "pwd; echo $EXTRA"], env={"EXTRA": "more"}, cwd=tmp_path)
    assert done.stdout.decode().splitlines() == [str(tmp_path), "more"]


def test_a_missing_program_and_much_output_are_as_documented() -> None:
    with pytest.raises(FileNotFoundError):
        Context().run(["no-such-program"])
    assert len(Context().run(["head", "-c", "100000", "/dev/zero"]).stdout) == OUTPUT_LIMIT


def test_outside_a_call_only_the_timeout_given_holds() -> None:
    with pytest.raises(CommandTimeoutError, match=r"sleep did not end within 0\.2 s and was killed"):
        Context().run(["sleep", "600"], timeout=0.2)
    assert Context().run(["true"]).returncode == 0


@pytest.mark.parametrize("call", [None, Call("1", "wire", "do", "", "", CommandSpec("do"))])
def test_where_nothing_has_a_deadline_a_program_has_none(call: Call | None) -> None:
    delivery = Delivery({})
    delivery.call = call
    with delivering(delivery):  # as while the answer goes out, or before the command may run
        assert Context().run(["true"]).returncode == 0


@pytest.mark.parametrize("timeout", [None, 600.0])
def test_a_program_ends_with_the_call_at_the_latest(timeout: float | None) -> None:
    with pytest.raises(CommandTimeoutError, match=r"sleep did not end within 0\.[0-3] s and was killed"):
        perform(lambda context: context.run(["sleep", "600"], timeout=timeout), name="do.briefly")


def test_a_program_may_have_less_time_than_its_call() -> None:
    with pytest.raises(CommandTimeoutError, match=r"sleep did not end within 0\.2 s and was killed"):
        perform(lambda context: context.run(["sleep", "600"], timeout=0.2))


def test_once_the_calls_time_is_up_no_program_is_started(tmp_path: Path) -> None:
    def body(context: Context) -> None:
        while time.monotonic() <= context.deadline:
            time.sleep(0.05)
        context.run(["touch", str(tmp_path / "trace")])

    with pytest.raises(CommandTimeoutError, match="No time was left to run touch"):
        perform(body, name="do.briefly")
    assert not (tmp_path / "trace").exists()


# The running call

OF_A_CALL: Mapping[str, Callable[[Context], object]] = {
    "call": lambda context: context.call,
    "commands": lambda context: context.commands,
    "store": lambda context: context.store,
    "deadline": lambda context: context.deadline,
    "after_answer": lambda context: context.after_answer(["true"]),
}
of_a_call = pytest.mark.parametrize("use", OF_A_CALL.values(), ids=OF_A_CALL.keys())


@of_a_call
def test_outside_a_call_what_belongs_to_one_is_an_error(use: Callable[[Context], object]) -> None:
    with pytest.raises(RuntimeError, match="No command is running in this thread"):
        use(Context())


@of_a_call
def test_before_and_after_the_command_there_is_no_call(use: Callable[[Context], object]) -> None:
    context = Context(programs=Detached())
    with delivering(Delivery({})):  # a dispatcher's thread, between two commands
        for _ in range(2):
            with pytest.raises(RuntimeError):
                use(context)
            perform(lambda context: "", context)


@of_a_call
def test_another_thread_than_the_commands_is_outside_the_call(use: Callable[[Context], object]) -> None:
    caught: list[type[BaseException]] = []

    def elsewhere() -> None:
        try:
            use(Context())
        except RuntimeError as error:
            caught.append(type(error))

    def body(context: Context) -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(PATIENCE)

    perform(body)
    assert caught == [RuntimeError]


def test_inside_a_call_all_of_it_is_there() -> None:
    store = Values({"vm-data/name": b"value"})
    seen: list[Any] = []
    pack = Pack(lambda it: seen.extend([it.call, set(it.commands), it.store, it.deadline]))
    before = time.monotonic()
    ChannelRunner(CommandRegistry([pack]), "wire", deny=["do.briefly"], store=store).run_command("do", "given")
    call, commands, found_store, deadline = seen
    assert (call.channel, call.name, call.value, call.argument, call.spec.name) == (
        "wire",
        "do",
        "given",
        "given",
        "do",
    )
    assert commands == {"do"}
    assert found_store is store
    assert before + 50 <= deadline == call.deadline <= time.monotonic() + 50


def test_a_channel_without_a_store_says_so() -> None:
    pack = Pack(lambda context: context.store)
    with pytest.raises(CommandError, match="Channel 'wire' has no store"):
        ChannelRunner(CommandRegistry([pack]), "wire").run_command("do")


# After the answer


def test_what_is_to_happen_after_the_answer_happens_then_and_in_order() -> None:
    programs = Detached()

    def body(context: Context) -> int:
        context.after_answer(["first", "1"])
        context.after_answer(["second"])
        return len(programs.argvs)

    delivery = Delivery({})
    with delivering(delivery):
        assert perform(body, Context(programs=programs)) == 0
    assert programs.argvs == []
    delivery.settle(True)
    assert programs.argvs == [["first", "1"], ["second"]]


@pytest.mark.parametrize("fails", [False, True])
def test_without_a_dispatcher_it_happens_when_the_command_has_ended(fails: bool) -> None:
    programs = Detached()

    def body(context: Context) -> None:
        context.after_answer(["reboot"])
        if fails:
            raise CommandError("failed")

    with pytest.raises(CommandError) if fails else nullcontext():
        perform(body, Context(programs=programs))
    assert programs.argvs == [["reboot"]]


def test_a_failure_after_the_answer_is_logged_and_keeps_none_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    programs = Detached(missing="second")

    def body(context: Context) -> None:
        for name in ("first", "second", "third"):
            context.after_answer([name])

    with caplog.at_level(logging.ERROR):
        perform(body, Context(programs=programs))
    assert programs.argvs == [["first"], ["second"], ["third"]]
    assert "second could not be started: not found" in caplog.text

"""The documentation: its examples are run as they stand there, and its reference leaves nothing out.

Blocks of the language ``console`` are typed in, in order, in a scratch folder, and what is shown has to come. A block
with a caption is the file of that name. Blocks of the language ``sh`` are for machines that a test may not touch: they
are only parsed.
"""

from __future__ import annotations

import configparser
import difflib
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from guestagent_core import ChannelRunner, CommandRegistry, cli, discovery
from guestagent_core.builtin import Builtin
from guestagent_core.config import load_config
from guestagent_core.errors import ConfigError
from guestagent_json import JsonParser

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.rst"))
PATIENCE = 60.0  # seconds
_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\w+)\n"
    r"(?P<options>(?:(?P=indent)   :.*\n)*)"
    r"\n(?P<text>(?:(?P=indent)   .*\n|[ ]*\n)+)",
    re.MULTILINE,
)
_CAPTION = re.compile(r":caption: (.*)\n")


class Environment(Protocol):
    python: Path

    def install(self, source: Path, *options: str) -> None: ...


@dataclass(frozen=True)
class Block:
    """A piece of code on a page."""

    place: str
    language: str
    caption: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Gives the blocks of ``page`` in order."""
    source = page.read_text() + "\n"
    for match in _BLOCK.finditer(source):
        caption = _CAPTION.search(match["options"])
        line = source.count("\n", 0, match.start()) + 1
        indent = len(match["indent"]) + 3
        text = "\n".join(line[indent:] for line in match["text"].rstrip().splitlines()) + "\n"
        yield Block(f"{page.relative_to(ROOT)}:{line}", match["language"], caption[1] if caption else "", text)


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def is_run(page: Path) -> bool:
    return any(block.language == "console" for block in blocks(page))


def test_the_blocks_are_found() -> None:
    for page in PAGES:
        assert len(list(blocks(page))) == page.read_text().count(".. code-block:: "), f"{page}: a block is misshapen"


# Following the pages


class Reader:
    """Does what a page says: writes its files, types its commands, and compares what is shown with what comes.

    ``...`` on a page stands for anything; times and numbers of versions are not compared.
    """

    def __init__(self, environment: Environment, folder: Path) -> None:
        self._folder = folder
        self._commands = environment.python.parent
        self._agent: Agent | None = None
        hidden = (
            "STATE_DIRECTORY",
            "RUNTIME_DIRECTORY",
            "PYTHONSAFEPATH",
            "PYTEST_ADDOPTS",
            "XDG_STATE_HOME",
            "XDG_RUNTIME_DIR",
        )
        self._variables = {name: value for name, value in os.environ.items() if name not in hidden}
        self._variables["PATH"] = f"{self._commands}{os.pathsep}{os.environ['PATH']}"
        self._variables["HOME"] = str(folder)
        # Building needs the network otherwise.
        build = 'case "$1" in install|wheel) set -- "$@" --no-build-isolation --no-index;; esac'
        self._add_command("pip", f'{build}; exec python -m pip "$@"')

    def follow(self, page: Path) -> None:
        """Goes through a page from its beginning to its end."""
        for block in blocks(page):
            if block.language == "console":
                self._type(block)
            elif block.caption and not Path(block.caption).is_absolute():
                file = self._folder / block.caption
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text)
        assert self._agent is None, f"{page}: the agent is left running"

    def leave(self) -> None:
        """Ends what still runs."""
        if self._agent is not None:
            self._agent.end()

    def _add_command(self, name: str, script: str) -> None:
        file = self._commands / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def use_the_tested_guestagent(self) -> None:
        """For a page that begins where guestagent is installed."""
        self._add_command("guestagent", 'exec python -m guestagent_core "$@"')

    def _type(self, block: Block) -> None:
        before, *commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        if before:
            assert self._agent is not None, f"{block.place}: this is shown by no command"
            if before.startswith("^C"):
                self._agent.interrupt(block.place, before.removeprefix("^C"))
                self._agent = None
            else:
                self._agent.expect(block.place, before)
        for typed in commands:
            command, _, shown = typed.partition("\n")
            if command.startswith("guestagent run "):
                assert self._agent is None, f"{block.place}: an agent runs already"
                agent = Agent(command, self._folder, self._variables)
                self._agent = agent if agent.started() else None
                agent.expect(block.place, shown)
            elif command == "python3 -m venv .venv":  # the fixture has made it, with what pip cannot get here
                (self._folder / ".venv").symlink_to(self._commands.parent)
            else:
                done = subprocess.run(
                    ["sh", "-c", f"exec 2>&1; {command}"],
                    cwd=self._folder,
                    env=self._variables,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                    check=False,
                )
                assert matches(shown, done.stdout), difference(f"{block.place}: {command}", shown, done.stdout)


class Agent:
    """`guestagent run` in a terminal of its own."""

    def __init__(self, command: str, folder: Path, variables: dict[str, str]) -> None:
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind("")  # a name of the kernel's choice
        self._manager.settimeout(0.05)
        self._process = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env={**variables, "NOTIFY_SOCKET": f"@{self._manager.getsockname()[1:].decode()}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._said = ""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def started(self) -> bool:
        """Waits until the agent is ready, and returns whether it is; it has ended otherwise."""
        while self._process.poll() is None:
            with suppress(TimeoutError):
                return self._manager.recv(100) == b"READY=1"
        self._close()
        return False

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._said += line

    def expect(self, place: str, shown: str) -> None:
        """Waits until the agent has said what is shown, since this was last asked."""
        deadline = time.monotonic() + PATIENCE
        while not matches(shown, self._said):
            if time.monotonic() > deadline or not self._listener.is_alive():  # both with nothing more to come
                raise AssertionError(difference(place, shown, self._said))
            time.sleep(0.01)
        self._said = ""

    def interrupt(self, place: str, shown: str) -> None:
        """Presses Ctrl+C."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(PATIENCE) == 0
        self._close()
        assert matches(shown, self._said), difference(place, shown, self._said)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self._listener.join(PATIENCE)
        self._manager.close()


def matches(shown: str, came: str) -> bool:
    pattern = ""
    for line in neutral(shown).splitlines(keepends=True):
        pattern += r"(.*\n)?" if line == "...\n" else ".*".join(map(re.escape, line.split("...")))
    return re.fullmatch(pattern, neutral(came), re.DOTALL) is not None


def neutral(text: str) -> str:
    """Replaces what differs from one time to the next."""
    text = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\b", "<time>", text)
    text = re.sub(r"\b\d+\.\d+ ms\b", "<duration>", text)
    text = re.sub(r"\b\d+\.\d+s\b", "<duration>", text)
    text = re.sub(r"\b\d+\.\d+\.\d+\b", "<version>", text)
    return "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines())


def difference(place: str, shown: str, came: str) -> str:
    lines = difflib.unified_diff(neutral(shown).splitlines(), neutral(came).splitlines(), "shown", "came", lineterm="")
    return "\n".join([f"{place}: what came is not what is shown", *lines])


def see(environment: Environment, folder: Path, *distributions: str) -> None:
    """Hides all distributions of ours from ``environment`` but these; what they need stays."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    beside = environment.python.parents[1] / "lib" / version / "site-packages" / "beside.pth"
    assert beside.exists()
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("guestagent_") or path.name.startswith(distributions):
            (folder / path.name).symlink_to(path)
    beside.write_text(f"{folder}\n")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:  # the path of a socket has to be short
        yield Path(folder)


def test_the_tutorial_can_be_followed(environment: Environment, folder: Path, tmp_path: Path) -> None:
    see(environment, tmp_path / "beside", "no distribution of ours")
    for name in ("guestagent_core", "guestagent_json"):
        (folder / name).symlink_to(ROOT / name)
    reader = Reader(environment, folder)
    try:
        for lesson in re.findall(r"^   ([\w-]+)$", (DOCS / "tutorial/index.rst").read_text(), re.MULTILINE):
            reader.follow(DOCS / "tutorial" / f"{lesson}.rst")
    finally:
        reader.leave()


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if is_run(page) and page.parent.name != "tutorial"],
    ids=lambda page: str(page.relative_to(DOCS)),
)
def test_the_page_can_be_followed(environment: Environment, folder: Path, tmp_path: Path, page: Path) -> None:
    # A comment in the page says what it expects beside these.
    more = re.findall(r"^\.\. installed: (\w+)$", page.read_text(), re.MULTILINE)
    see(environment, tmp_path / "beside", "guestagent_core", "guestagent_json", "guestagent_pytest", *more)
    for name in ("examples", "guestagent_core"):
        if re.search(rf"^   \$ pip .* \./{name}\b", page.read_text(), re.MULTILINE):
            (folder / name).symlink_to(ROOT / name)
    reader = Reader(environment, folder)
    reader.use_the_tested_guestagent()
    try:
        reader.follow(page)
    finally:
        reader.leave()


# What is not run is at least valid


@pytest.mark.parametrize("block", all_blocks("console", "sh"), ids=lambda block: block.place)
def test_commands_are_understood(block: Block) -> None:
    lines = block.text.splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    script = "\n".join(lines)
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line in lines:
        words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
        if words[0] == "guestagent":
            command_line_is_valid(words[1:])


def command_line_is_valid(words: list[str]) -> None:
    end = next((index for index, word in enumerate(words) if set(word) <= set("<>|&;()")), len(words))
    try:
        cli._parser(words[:end]).parse_args(words[:end])
    except SystemExit as error:
        raise AssertionError(f"guestagent does not take {words[:end]}") from error


@pytest.mark.parametrize("block", all_blocks("toml"), ids=lambda block: block.place)
def test_toml_is_a_configuration_or_a_project(block: Block, tmp_path: Path) -> None:
    if block.caption.endswith("pyproject.toml"):
        groups = tomllib.loads(block.text)["project"]["entry-points"]
        assert set(groups) <= {discovery.COMMANDS, discovery.HOOKS}
        return
    file = tmp_path / "config.toml"
    file.write_text(block.text)
    if block.caption == "misspelt.toml":
        with pytest.raises(ConfigError):
            load_config(file)
    else:
        load_config(file)


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.place)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")
    assert block.caption, f"{block.place}: without a name the code is not run"


def test_a_unit_starts_the_agent() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string((ROOT / "packaging/services/guestagent.service").read_text())
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "guestagent"
    command_line_is_valid(words)


@pytest.mark.parametrize("block", all_blocks("ini"), ids=lambda block: block.place)
def test_a_part_of_a_unit_runs_what_there_is(block: Block) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(block.text)
    commands = [unit["Service"][key] for key in ("ExecStart", "ExecStartPre") if key in unit["Service"]]
    assert commands or block.caption.endswith(".d/packs.conf"), f"{block.place}: nothing is started"
    for command in commands:
        program, *words = shlex.split(command)
        assert Path(program).name == "guestagent"
        command_line_is_valid(words)


def test_the_wire_is_what_is_shown() -> None:
    shown = [block for block in blocks(DOCS / "reference/wire.rst") if block.caption]
    assert [block.caption for block in shown] == ["request", "answer"] * (len(shown) // 2)
    parser = JsonParser(ChannelRunner(CommandRegistry([Builtin])))
    for request, answer in zip(shown[::2], shown[1::2], strict=True):
        came = parser.parse_request({"data": request.text.encode()})["data"]
        assert neutral(came.decode()) == neutral(answer.text), request.place


# The reference


def extension(name: str) -> Any:
    """Imports an extension; it needs Sphinx only where Sphinx calls it."""
    specification = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "module",
    ["", ".agent", ".client", ".config", ".discovery", ".errors", ".hookspecs", ".protocols", ".testing"],
)
def test_the_reference_has_every_public_name(module: str) -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.rst"))
    found = set(re.findall(r"\.\. (?:auto\w+|py:data):: (?:[\w.]+\.)?(\w+)$", text, re.MULTILINE))
    for whole in re.findall(r"\.\. automodule:: ([\w.]+)\n   :members:\n", text):
        found |= set(import_module(whole).__all__)
    found |= set(re.findall(r"\.\. class:: (\w+)$", text, re.MULTILINE))
    public = {name for name in import_module(f"guestagent_core{module}").__all__ if name != "__version__"}
    # The names of groups are on the page of the architecture, in a table.
    public -= {name for name in public if module == ".discovery" and name.isupper()}
    assert public <= found, f"not in docs/reference: {sorted(public - found)}"


def test_the_reference_has_every_option() -> None:
    text = (DOCS / "reference/configuration.rst").read_text()
    described = set(re.findall(r"\.\. config-keys:: \S+ (\S+)", text))
    expected = {"guestagent_core.config:AgentConfig", "guestagent_core.config:ChannelConfig"}
    catalogue = discovery.Catalogue.installed()
    for group in (discovery.EXCHANGES, discovery.PARSERS, discovery.STORES, discovery.COMMANDS, discovery.HOOKS):
        for plugin in catalogue.plugins(group):
            found = discovery.load(plugin)
            if hasattr(found, "Options"):
                expected.add(f"{plugin.entry_point.value}.Options")
    assert described == expected, "docs/reference/configuration.rst has to have a config-keys for each"


def test_the_reference_has_every_subcommand() -> None:
    text = (DOCS / "reference/cli.rst").read_text()
    assert set(re.findall(r"^\.\. cli::(?: (\w+))?$", text, re.MULTILINE)) == set(extension("cli_reference").parsers())


def test_the_architecture_has_every_group() -> None:
    text = (DOCS / "explanation/architecture.rst").read_text()
    groups = {getattr(discovery, name) for name in discovery.__all__ if name.isupper()}
    assert set(re.findall(r"\* - ``(guestagent\.\w+)``", text)) == groups


def test_keys_are_read_from_the_dataclass() -> None:
    @dataclass(frozen=True)
    class Options:
        """Ours."""

        path: Path
        """Where it is,
        or was."""
        users: tuple[int | str, ...] = (1, "x")
        level: Literal["a", "b"] | None = None

    keys = extension("config_reference")
    first, second, third = keys.keys_of(Options)
    assert first == ("path", "a path", "", True, "Where it is,\nor was.")
    assert second == ("users", "an array, each item an integer or a string", '[1, "x"]', False, "")
    assert third == ("level", "one of 'a', 'b'", "", False, "")
    assert keys.render("table", [first]).splitlines() == [
        ".. confval:: table.path",
        "   :type: a path",
        "   :default: none; the key is required",
        "",
        "   Where it is,",
        "   or was.",
        "",
    ]


def test_the_reference_of_a_subcommand_has_its_options() -> None:
    module = extension("cli_reference")
    text = module.render(module.parsers()["call"])
    assert ".. program:: guestagent call\n" in text
    assert ".. option:: NAME\n\n   The command.\n" in text
    assert ".. option:: --timeout SECONDS\n\n   Default: 30.\n" in text


# What is beside the documentation


def test_contributing_says_where_each_module_is() -> None:
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| ")]
    named = set(re.findall(r"`(\w+)(?:\.py|/)`", "\n".join(rows)))
    for name in sorted(folder.name for folder in ROOT.glob("guestagent_*")):
        package = ROOT / name / "src" / name
        modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
        for room in package.iterdir():
            if any(row.startswith(f"| modules of `{room.name}/` |") for row in rows):
                modules |= {path.stem for path in room.glob("*.py")}
        missing = modules - named - {"__init__"}
        assert not missing, f"not in CONTRIBUTING.md: {sorted(missing)} of {name}"


def test_each_fragment_of_the_changelog_has_a_type() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["towncrier"]
    types = "|".join(kind["directory"] for kind in settings["type"])
    assert settings["start_string"] in (ROOT / settings["filename"]).read_text()
    for path in (ROOT / settings["directory"]).iterdir():
        assert path.name == ".gitignore" or re.fullmatch(rf"\+?[\w-]+\.({types})\.md", path.name), path.name

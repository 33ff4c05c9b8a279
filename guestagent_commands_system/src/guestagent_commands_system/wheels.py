"""A new agent made of wheels: installed into a copy of the agent's environment, tried there, and then put in its place.

The environment that runs is never written to. A copy is, and when the copy has shown that its agent answers, the two
change names; what watches over that puts the old one back if the agent does not come up.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core import CommandError

from . import switch
from .archives import Archive
from .restart import restart_command

if TYPE_CHECKING:
    from guestagent_core import Context

    from .options import UpdateOptions

__all__ = ("install_wheels",)

_FIRST_LINES = 512  # bytes, in which a script names its interpreter


def install_wheels(context: Context, archive: Archive, options: UpdateOptions) -> None:
    """Installs the wheels of ``archive``, and has the agent restarted with them once the answer is out.

    :raises CommandError: they cannot be installed, or the agent that they make does not answer; nothing is changed
        then.
    """
    environment, named = Path(os.path.realpath(sys.prefix)), Path(sys.prefix)
    if sys.prefix == sys.base_prefix:
        raise CommandError("Wheels can only be installed where the agent has a virtual environment of its own")
    if environment.is_mount():
        raise CommandError(f"Wheels cannot be installed: {environment} is a mount point, and cannot be exchanged")
    restart = restart_command(context, options.services)
    try:
        switch.ask_version(str(options.socket))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{options.socket}: no local channel answers there; a new agent has to: {error}") from error
    folder = context.state_dir / "agentupdate"
    unpacked, other = folder / "unpacked", environment.with_name(f".{environment.name}.new")
    archive.unpack(unpacked)
    wheels = [str(unpacked / name) for name in archive.find(".whl")]
    if other.exists():  # of an earlier crash
        shutil.rmtree(other)
    try:
        _install(context, environment, other, named, wheels)
        script = folder / "switch.py"
        _write(script, Path(switch.__file__).read_text())
        interpreter = os.path.realpath(sys.executable)
        _try_out(context, interpreter, script, other)
        plan = {
            "environment": str(environment),
            "other": str(other),
            "restart": restart,
            "socket": str(options.socket),
            "patience": options.patience,
            "log": str(folder / "outcome.log"),
        }
        _write(folder / "plan.json", json.dumps(plan))
        context.after_answer([interpreter, "-I", str(script), "switch", str(folder / "plan.json")])
    except BaseException:
        shutil.rmtree(other, ignore_errors=True)
        raise


def _write(file: Path, text: str) -> None:
    """Writes what the journal may want to start after a loss of power."""
    with file.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _install(context: Context, environment: Path, other: Path, named: Path, wheels: list[str]) -> None:
    shutil.copytree(environment, other, symlinks=True)
    python = str(other / "bin" / "python")
    pip = [python, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input"]
    # Nothing is fetched, and the wheels are taken even if their version is there already.
    options = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--force-reinstall"]
    context.run([*pip, "install", "--quiet", *options, *wheels])
    done = context.run([*pip, "check"], check=False)
    if done.returncode != 0:
        raise CommandError(f"The wheels do not go together: {done.stdout.decode(errors='replace').strip()[-500:]}")
    for script in (other / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            _rename_interpreter(script, bytes(other), bytes(named))
    # The paths in compiled files are for tracebacks.
    compile_all = [python, "-I", "-m", "compileall", "-q", "-s", str(other), "-p", str(named)]
    context.run([*compile_all, str(other / "lib")], check=False)


def _rename_interpreter(script: Path, other: bytes, named: bytes) -> None:
    """Makes a script that pip has made in ``other`` begin as it has to when that has its final name."""
    content = script.read_bytes()
    if content.startswith(b"#!") and other in content[:_FIRST_LINES]:
        script.write_bytes(content[:_FIRST_LINES].replace(other, named) + content[_FIRST_LINES:])


def _try_out(context: Context, interpreter: str, script: Path, other: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ga-") as scratch:  # the path of a socket has to be short
        argv = [interpreter, "-I", str(script), "try", str(other / "bin" / "python"), scratch]
        done = context.run(argv, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise CommandError(f"The new agent does not come up: {said}")

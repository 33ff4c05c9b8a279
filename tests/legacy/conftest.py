"""A XenStore without a hypervisor, and old configurations run against it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.legacy.formats import Format, Packages

from guestagent_xen.devstore import DevelopmentStore

PATIENCE = 60.0  # seconds
VENDOR = Path(__file__).parent / "vendor"


@pytest.fixture
def store() -> Iterator[DevelopmentStore]:
    """A XenStore for one test."""
    with DevelopmentStore() as running:
        yield running


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)
    return value


class OldAgent:
    """`guestagent-legacy` in a folder of its own, with the files of a vendor, below a root of its own."""

    def __init__(self, folder: Path, store: Any) -> None:
        self.folder = folder
        self.store = store
        self.root = folder / "root"
        self.spool = folder / "spool"
        for made in (self.root / "etc", self.spool / "in", self.spool / "out"):
            made.mkdir(parents=True)
        shutil.copytree(VENDOR, folder / "nova", ignore=shutil.ignore_patterns("__pycache__"))
        self.config = folder / "nova" / "nova-agent.py"
        self.log = folder / "agent.log"
        self.environment = {
            **os.environ,
            "ACME_SPOOL": str(self.spool),
            "XENSTORED_PATH": str(store.path) if store is not None else str(folder / "nothing"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.environment.pop("STATE_DIRECTORY", None)
        self.environment.pop("RUNTIME_DIRECTORY", None)
        self.processes: list[subprocess.Popen[str]] = []

    def command(self, *words: object) -> list[str]:
        (self.folder / "empty.toml").touch()
        program = [
            sys.executable,
            "-W",
            "error",
            "-c",
            "import sys; from guestagent_legacy.cli import main; sys.exit(main())",
        ]
        fixed = ["--root", str(self.root), "--config", str(self.folder / "empty.toml"), "-o", str(self.log)]
        return [*program, *fixed, *map(str, words)]

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            **options,
        )

    def start(self, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command("-n", *words), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        wait_until(lambda: "started" in self.logged() or process.poll() is not None, "the start")
        return process

    def stop(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def logged(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def ask(self, name: str, value: Any = "", id: str = "3f1b0c3e-0000-0000-0000-000000000001") -> tuple[str, str]:
        """Asks as a host does, through the store."""
        return self.ask_raw(json.dumps({"name": name, "value": value}).encode(), id)

    def ask_raw(self, data: bytes, id: str = "3f1b0c3e-0000-0000-0000-000000000001") -> tuple[str, str]:
        answer, request = f"/local/domain/0/data/guest/{id}", f"/local/domain/0/data/host/{id}"
        self.store.remove(answer)
        self.store.write(request, data)
        message = json.loads(wait_until(lambda: self.store.read(answer), "the answer"))
        assert self.store.read(request) is None
        return message["returncode"], message["message"]


@pytest.fixture
def old_agent(tmp_path: Path, store: DevelopmentStore) -> Iterator[OldAgent]:
    agent = OldAgent(tmp_path, store)
    yield agent
    for process in agent.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def wait() -> Callable[[Callable[[], Any], str], Any]:
    return wait_until


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Builds the package of a format, and one of the next version: once, however many tests ask for it."""

    @cache
    def build(package_format: Format) -> list[Path]:
        return package_format.build(tmp_path_factory.mktemp(package_format.name))

    return build

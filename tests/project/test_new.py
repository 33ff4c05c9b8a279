"""What `guestagent new` makes can be installed, passes its tests and is seen by the agent."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Protocol

import pytest

from guestagent_core.scaffold import KINDS, make_project

ROOT = Path(__file__).parents[2]


class Environment(Protocol):
    def install(self, source: Path, *options: str) -> None: ...
    def guestagent(self, *arguments: str, **environment: str) -> Any: ...
    def run(self, *arguments: str, **environment: str) -> Any: ...


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), list(KINDS)], ids="-".join)
def test_what_new_makes_works_at_once(environment: Environment, tmp_path: Path, kinds: list[str]) -> None:
    parent = tmp_path / "made"
    done = environment.guestagent("new", "guestagent-blue-moon", *kinds, "--in", str(parent))
    assert done.returncode == 0, done.stderr
    project = parent / "guestagent_blue_moon"
    assert f"{project}/pyproject.toml" in done.stdout.splitlines()
    environment.install(project)
    plugins = json.loads(environment.guestagent("plugins", "--json").stdout)
    seen = {row["group"]: row for row in plugins if row["package"] == "guestagent-blue-moon"}
    assert set(seen) == {KINDS[kind].group for kind in kinds}
    for row in seen.values():
        assert (row["name"], row["version"], row["problem"]) == ("blue-moon", "0.1.0", "")
    tests = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project), str(project))
    assert tests.returncode == 0, tests.stdout
    assert environment.guestagent("check").returncode == 0


def test_two_commands_an_exchange_and_their_tests_are_sixty_lines_in_three_files(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    vendor_hour = importlib.import_module("vendor_hour")
    make_project("guestagent_acme", ["pack", "exchange"], tmp_path)
    project = tmp_path / "guestagent_acme"
    assert vendor_hour.written(project) <= 60
    assert len(vendor_hour._WRITTEN) == 3
    environment.install(project)
    tests = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project), str(project))
    assert tests.returncode == 0, tests.stdout


def test_what_cannot_be_made_is_said(environment: Environment, tmp_path: Path) -> None:
    done = environment.guestagent("new", "acme", "packs", "--in", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("guestagent: There is no 'packs' to be made; there is pack, exchange, ")

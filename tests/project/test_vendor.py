"""A vendor's distribution, installed beside the agent, passes the contracts by its own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Environment(Protocol):
    def install(self, source: Path, *options: str) -> None: ...
    def run(self, *arguments: str, **environment: str) -> Any: ...


def test_the_vendors_own_tests_pass(environment: Environment, vendor: Path) -> None:
    environment.install(vendor / "acme")
    tests = vendor / "acme" / "tests"
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tests), str(tests))
    assert done.returncode == 0, done.stdout

"""The examples can be installed, load in an agent and pass their own tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import pytest

EXAMPLES = sorted(path.parent for path in (Path(__file__).parents[2] / "examples").glob("*/pyproject.toml"))


class Environment(Protocol):
    def install(self, source: Path, *options: str) -> None: ...
    def guestagent(self, *arguments: str, **environment: str) -> Any: ...
    def run(self, *arguments: str, **environment: str) -> Any: ...


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_works(environment: Environment, example: Path) -> None:
    environment.install(example)
    plugins = json.loads(environment.guestagent("plugins", "--json").stdout)
    mine = [row for row in plugins if row["package"] == f"example_{example.name}"]
    assert len(mine) == (0 if example.name == "embedded" else 1)
    assert all(row["name"] == example.name and not row["problem"] for row in mine)
    tests = example / "tests"
    options = ("-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", str(tests))
    done = environment.run("-m", "pytest", "-q", *options, str(tests))
    assert done.returncode == 0, done.stdout


def test_each_example_is_listed() -> None:
    text = (EXAMPLES[0].parent / "README.md").read_text()
    for example in EXAMPLES:
        assert f"| `{example.name}/` |" in text
        assert (example / "README.md").read_text().startswith(f"# example_{example.name}\n")

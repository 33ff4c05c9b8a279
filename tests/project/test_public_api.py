"""What is public is on record, and no change of it goes unseen."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool() -> Any:
    specification = importlib.util.spec_from_file_location("public_api", ROOT / "tools" / "public_api.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_what_is_public_is_what_is_on_record(tool: Any) -> None:
    advice = (
        "the public API is not what tools/public_api.txt says. If that is meant: python tools/public_api.py, and a "
        "fragment in changelog.d; what goes away is deprecated first, see docs/reference/api.rst"
    )
    assert tool.listing() == tool.RECORD.read_text(), advice


def test_the_promise_names_each_module(tool: Any) -> None:
    text = (ROOT / "docs/reference/api.rst").read_text()
    assert set(re.findall(r"^   \* - ``(guestagent_\w+(?:\.\w+)*)``", text, re.MULTILINE)) == set(tool.MODULES)


SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = ("LIMIT", "Pair", "Shape", "Thing", "make")
LIMIT = 5

class Pair(NamedTuple):
    one: int
    two: str = ""

class Shape(Protocol):
    def area(self) -> float: ...

class Thing:
    @dataclass(frozen=True)
    class Options:
        size: int = 1

    word: str
    def __init__(self, size: int) -> None:
        self.size = size
    def grow(self, by: int = 1, *, twice: bool = False) -> int:
        return 0
    @property
    def big(self) -> bool:
        return False
    @classmethod
    def small(cls) -> Thing:
        return cls(1)
    def _private(self) -> None: ...

def make(*names: str, **more: object) -> Thing:
    return Thing(1)
"""


def lines_of(tool: Any, monkeypatch: pytest.MonkeyPatch, source: str) -> list[str]:
    module = ModuleType("guestagent_made_up")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "<made up>", "exec", dont_inherit=True), module.__dict__)
    monkeypatch.setattr(tool, "attributes_set_by", lambda function: ["size"] if "self.size" in source else [])
    lines: list[str] = list(tool.names_of(module.__name__))
    return lines


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"make")', ")"),
        ("LIMIT = 5", "LIMIT = 6"),
        ("two: str", "two: bytes"),
        ('two: str = ""', "two: str"),
        ("one: int", "uno: int"),
        ("def area", "def surface"),
        ("size: int = 1\n", "size: int = 2\n"),
        ("size: int = 1\n", "size: float = 1\n"),
        ("word: str", "word: bytes"),
        ("size: int)", "size: int, more: int)"),
        ("self.size", "self._size"),
        ("by: int = 1", "by: int"),
        ("by: int = 1", "amount: int = 1"),
        ("*, twice", "twice"),
        ("-> int", "-> float"),
        ("    @property\n", ""),
        ("    @classmethod\n", ""),
        ("class Thing:", "class Thing(Exception):"),
        ("*names", "names"),
        ("**more: object", ""),
    ],
)
def test_a_change_of_what_is_public_is_seen(tool: Any, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    assert old in SOURCE
    before = lines_of(tool, monkeypatch, SOURCE)
    assert lines_of(tool, monkeypatch, SOURCE.replace(old, new, 1)) != before


@pytest.mark.parametrize(("old", "new"), [("_private", "_hidden"), ("return 0", "return 1")])
def test_a_change_of_what_is_private_is_none(tool: Any, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    before = lines_of(tool, monkeypatch, SOURCE)
    assert lines_of(tool, monkeypatch, SOURCE.replace(old, new)) == before


def test_attributes_are_found_where_they_are_set(tool: Any) -> None:
    from guestagent_core.agent import Agent

    found = tool.attributes_set_by(Agent.__init__)
    assert {"config", "plugins", "problems", "registry"} <= set(found)
    assert not [name for name in found if name.startswith("_")]

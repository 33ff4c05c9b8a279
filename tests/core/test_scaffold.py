"""`guestagent new`: names, and what it refuses."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from guestagent_core.errors import ConfigError
from guestagent_core.scaffold import KINDS, make_project


@pytest.mark.parametrize(
    ("name", "package", "plugin", "class_name"),
    [
        ("guestagent_acme", "guestagent_acme", "acme", "Acme"),
        ("guestagent-acme-tools", "guestagent_acme_tools", "acme-tools", "AcmeTools"),
        ("Moon", "moon", "moon", "Moon"),
        ("b2b_agent", "b2b_agent", "b2b-agent", "B2bAgent"),
    ],
)
def test_all_names_follow_from_one(tmp_path: Path, name: str, package: str, plugin: str, class_name: str) -> None:
    made = make_project(name, ["hooks"], tmp_path)
    assert tmp_path / package / "src" / package / "hooks.py" in made
    assert f'{plugin} = "{package}.hooks:{class_name}Hooks"' in (tmp_path / package / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["", "5", "acme!", "../acme", "a/b", "a--b", "a_", "_a", "class", "a b", "é"])
def test_what_is_no_name_makes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be named"):
        make_project(name, ["pack"], tmp_path)
    assert not os.listdir(tmp_path)


def test_a_kind_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no 'packs' to be made; there is pack, exchange, parser, hooks, backend"):
        make_project("acme", ["pack", "packs"], tmp_path)
    with pytest.raises(ConfigError, match="What is acme to bring"):
        make_project("acme", [], tmp_path)
    assert not os.listdir(tmp_path)


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        make_project("acme", ["pack"], tmp_path)
    assert os.listdir(tmp_path) == ["acme"]
    assert not os.listdir(tmp_path / "acme")


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ConfigError, match="acme cannot be made: No space left on device"):
        make_project("acme", ["pack"], tmp_path)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] + [list(KINDS), list(KINDS)[::-1], ["pack", "pack"]])
def test_what_is_made_is_whole(tmp_path: Path, kinds: list[str]) -> None:
    made = make_project("guestagent_acme", kinds, tmp_path)
    for file in made:
        text = file.read_text()
        assert "${" not in text.replace("${{ matrix.python }}", "")
        assert text.endswith("\n") or not text
        assert max(map(len, text.splitlines()), default=0) <= 120
        if file.suffix == ".py":
            module = ast.parse(text)
            assert ast.get_docstring(module)
            imports = [ast.unparse(node) for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
            assert len(imports) == len(set(imports)), f"{file.name} imports something twice"
    assert {file.name for file in made} >= {"pyproject.toml", "README.md", ".gitignore", "tests.yml", "py.typed"}

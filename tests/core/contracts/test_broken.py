"""Every clause of every contract catches a plugin that breaks it, and says so."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from inspect import cleandoc
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from guestagent_core import testing
from guestagent_core.testing import Contract

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("broken_*.py"))
CONTRACTS = [getattr(testing, name) for name in testing.__all__ if name.endswith("Contract")]


def clauses(contract: type[Contract]) -> dict[str, str]:
    """Returns the clauses of a contract, with what they demand."""
    return {
        name: function.__doc__ or ""
        for base in contract.__mro__
        for name, function in vars(base).items()
        if name.startswith("test_")
    }


def module_of(file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(file.stem, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def outcomes(file: Path, wanted: list[str], report: Path) -> dict[tuple[str, str], str | None]:
    """Runs clauses of the broken plugins; returns what pytest says of each, None where it passed."""
    ids = [f"{file}::{one}" for one in wanted]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *ids]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[tuple[str, str], str | None] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        key = (case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0])
        failure = case.find("failure")
        assert case.find("error") is None, f"{key}: {ElementTree.tostring(case, encoding='unicode')}"
        if failure is not None or key not in found:
            found[key] = None if failure is None else failure.text
    return found


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_each_clause_says_what_it_demands_and_what_to_do(contract: type[Contract]) -> None:
    for name, demanded in clauses(contract).items():
        assert re.fullmatch(r"\S.*[.:].*\n\n\S.*\.", cleandoc(demanded), re.DOTALL), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_clause_catches_what_breaks_it(file: Path, tmp_path: Path) -> None:
    classes: dict[str, Any] = {
        name: value for name, value in vars(module_of(file)).items() if name.startswith("Test") and value is not type
    }
    (contract,) = {base for value in classes.values() for base in value.__mro__ if base in CONTRACTS} - {Contract}
    demanded = clauses(contract)
    broken = {name: value.breaks for name, value in classes.items() if value.breaks}
    assert set(broken.values()) == set(demanded), "each clause needs a plugin that breaks it"
    sound = [name for name, value in classes.items() if not value.breaks]
    found = outcomes(file, [*(f"{name}::{clause}" for name, clause in broken.items()), *sound], tmp_path / "report")
    for (name, clause), failure in found.items():
        if name in sound:
            assert failure is None, f"{name} is sound, but {clause} says: {failure}"
            continue
        assert failure is not None, f"{name} breaks {clause}, which has not noticed"
        demand, advice = (" ".join(part.split()) for part in cleandoc(demanded[clause]).split("\n\n"))
        said = " ".join(failure.split())
        assert f"broken clause of {Contract.__name__ if clause in vars(Contract) else contract.__name__}" in said
        assert demand in said
        assert f"What to do: {advice}" in said
    assert set(broken.items()) <= set(found)
    assert {name for name, _ in found} == set(classes)


def test_what_a_test_lacks_is_named(tmp_path: Path) -> None:
    file = tmp_path / "test_lacking.py"
    names = [contract.__name__ for contract in CONTRACTS if contract is not Contract]
    file.write_text(
        f"from guestagent_core.testing import {', '.join(names)}\n"
        + "".join(f"class Test{name}({name}): pass\n" for name in names)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "TestCommandPackContract needs the attribute pack" in done.stdout
    for name, fixture in (("Exchange", "exchange"), ("Parser", "make_parser"), ("Store", "store")):
        assert f"fixture '{fixture}' not found" in done.stdout
        assert f"- what {name}Contract needs -" in done.stdout
        assert f"- ``{fixture}``: a " in done.stdout
    assert "gives the fixture ``hooks_plugin``" in done.stdout


def test_fixtures_may_stand_beside_the_class(tmp_path: Path) -> None:
    file = tmp_path / "test_beside.py"
    file.write_text(
        "import pytest\n"
        "from guestagent_core.testing import ExchangeContract, MemoryExchange\n"
        "@pytest.fixture\ndef exchange(): return MemoryExchange()\n"
        "@pytest.fixture\ndef ask(exchange): return exchange.ask\n"
        "class TestBeside(ExchangeContract): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout

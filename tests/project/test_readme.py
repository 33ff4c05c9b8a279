"""The README's code, run as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[2] / "README.md"


def blocks() -> list[str]:
    """Returns the indented blocks."""
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n)+", README.read_text(), re.MULTILINE)]


def test_the_pack_works_in_a_program_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    code = [block for block in blocks() if "from guestagent_core" in block]
    assert len(code) == 2
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in code:
        exec(compile(block, str(README), "exec"), namespace)
    answer = capsys.readouterr().out
    assert re.fullmatch(r"""b'\{"message": "\d+\.\d+", "returncode": "0"\}'\n""", answer)

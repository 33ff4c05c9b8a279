"""Values that are allowed and seldom: quotes in os-release(5), and results of commands that are less than zero."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guestagent_core import CommandBase, CommandRegistry, CommandResult, Context, command
from guestagent_xapi.facts import system_facts
from guestagent_xapi.script_parser import ScriptParser


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (r'PRETTY_NAME="Acme \"Blue\" 3"', 'Acme "Blue" 3'),
        (r'PRETTY_NAME="Acme \$5 \\ \`x\`"', r"Acme $5 \ `x`"),
        ("PRETTY_NAME='Acme \"Blue\"'", 'Acme "Blue"'),
        ("PRETTY_NAME=Acme", "Acme"),
        ('PRETTY_NAME=""', "Other"),
        ('PRETTY_NAME="not closed', "Other"),
    ],
)
def test_a_name_may_have_quotes(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(f"ID=acme\nNAME=Other\n{line}\nVERSION_ID=3.1\n")
    facts = system_facts(Context(tmp_path).path)
    assert (facts["data/os_name"], facts["data/os_majorver"], facts["data/os_minorver"]) == (name, "3", "1")


class Returning(CommandBase):
    @command("return")
    def run(self, value: int | str) -> CommandResult:
        return CommandResult(value, "said")


@pytest.mark.parametrize(
    ("code", "returned"), [(0, "0"), ("0", "0"), ("D0", "0"), (3, "3"), ("500", "500"), (-1, "-1")]
)
def test_every_number_but_zero_is_a_failure_of_the_command(code: int | str, returned: str) -> None:
    parser = ScriptParser(CommandRegistry([Returning]))
    answer = json.loads(parser.parse_request({"data": f"return {json.dumps(code)}".encode()})["data"])
    outputs = ("said", "") if returned == "0" else ("", "said")
    assert (answer["state"], answer["return"], answer["stdout"], answer["stderr"]) == ("SUCCESS", returned, *outputs)

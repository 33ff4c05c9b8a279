"""Bytes and text, one to the old agent: requests that are no UTF-8, and messages that programs have printed."""

from __future__ import annotations

from typing import Any

COMMANDS = """\
import agentlib, commands, plugins, subprocess

class Printed(commands.CommandBase):
    @commands.command_add("printed")
    def printed_cmd(self, data):
        return (0, subprocess.run(["printf", data], stdout=subprocess.PIPE, check=True).stdout)

agentlib.register(plugins.XSComm(), plugins.JsonParser(commands.init()))
"""


def test_bytes_are_taken_for_the_text_that_they_were(old_agent: Any) -> None:
    file = old_agent.folder / "texts.py"
    file.write_text(COMMANDS)
    old_agent.start(file)
    assert old_agent.ask("printed", "é✓") == ("0", "é✓")
    assert old_agent.ask("printed", "\\377") == ("0", "\ufffd")
    assert old_agent.ask_raw('{"name": "é"}'.encode()) == ("404", "No such agent command 'é'")
    assert old_agent.ask_raw(b'{"name": "\xff"}') == ("500", "Request is malformed")
    assert old_agent.ask_raw(b'{"name": "\\ud800"}') == ("404", "No such agent command '\ud800'")

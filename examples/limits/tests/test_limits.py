"""The pack, held to its contract; and what is its own."""

from __future__ import annotations

from typing import Any

import pytest
from example_limits import Limits

from guestagent_core import CommandError, CommandRegistry, Context, InvalidArgumentError
from guestagent_core.testing import CommandPackContract, RunningAgent


class TestLimits(CommandPackContract):
    entry_point = "limits"
    pack = Limits
    samples = {
        "limits.list": "",
        "limits.set": {"user": "alice", "item": "nofile", "value": 4096},
        "limits.clear": {"user": "alice"},
    }

    def test_what_is_set_is_written_for_the_guest_and_kept(self, registry: CommandRegistry, context: Context) -> None:
        for user, value in (("bob", 10), ("alice", 20), ("alice", 30)):
            registry.run_command("limits.set", {"user": user, "item": "nproc", "value": value})
        file = context.path("/etc/security/limits.d/90-guestagent.conf")
        assert file.read_text() == "alice - nproc 30\nbob - nproc 10\n"
        restarted = CommandRegistry([Limits], context)
        assert restarted.run_command("limits.list").message == {"alice": {"nproc": 30}, "bob": {"nproc": 10}}
        assert restarted.run_command("limits.clear", {"user": "alice"}) == (0, 1)
        assert file.read_text() == "bob - nproc 10\n"

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            ({"user": "alice", "item": "nofile"}, "missing required field `value`"),
            ({"user": "alice", "item": "cake", "value": 1}, r"Invalid enum value 'cake' - at `\$.item`"),
            ({"user": "a b", "item": "core", "value": 1}, r"matching regex .* at `\$.user`"),
            ({"user": "alice\n", "item": "core", "value": 1}, r"matching regex .* at `\$.user`"),
            ({"user": "alice", "item": "core", "value": True}, r"Expected `int`, got `bool` - at `\$.value`"),
            ({"user": "alice", "item": "core", "value": 1, "more": 2}, "unknown field `more`"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(self, registry: CommandRegistry, value: Any, error: str) -> None:
        with pytest.raises(InvalidArgumentError, match=error):
            registry.run_command("limits.set", value)

    def test_a_damaged_state_is_not_overwritten(self, registry: CommandRegistry, context: Context) -> None:
        (context.state_dir / "limits.json").write_text("{")
        with pytest.raises(CommandError, match=r"limits.json is damaged"):
            registry.run_command("limits.set", self.samples["limits.set"])
        assert (context.state_dir / "limits.json").read_text() == "{"


def test_a_host_is_served(agent: RunningAgent) -> None:
    assert agent.call("limits.set", {"user": "alice", "item": "core", "value": 0}).code == "0"
    assert agent.call("limits.list").message == '{"alice": {"core": 0}}'

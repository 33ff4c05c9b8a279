"""Backends that break a clause of their contract are found by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.net import test_ifcfg, test_netifrc
from tests.net.models import nics_of

from guestagent_commands_net.backends import FileChange, FileState, Snapshot
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Change
from guestagent_commands_net.testing import NetworkBackendContract, examples
from guestagent_commands_net.tools.ifcfg import Ifcfg
from guestagent_commands_net.tools.netifrc import Netifrc

NICS = nics_of({"eth0": "bc:76:4e:20:00:42"} | {f"eth{number}": f"bc:76:4e:20:01:0{number}" for number in range(1, 10)})
EXAMPLES = {str(each): each for each in examples()}


class RemovesNothing(Ifcfg):
    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        return tuple(each for each in super().render(change, snapshot) if each.content is not None)


class WritesAll(Ifcfg):
    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        changes = {each.path: each for each in super().render(change, snapshot)}
        all_files = {path: FileChange(path, each.content) for path, each in snapshot.files.items()}
        return tuple((all_files | changes).values())


class KeepsWhatIsRemoved(Netifrc):
    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        return super().render(replace(change, removed=()), snapshot)


class SaysNotWhose(Netifrc):
    def render(self, change: Change, snapshot: Snapshot) -> tuple[FileChange, ...]:
        try:
            return super().render(change, snapshot)
        except NetworkValueError:
            raise NetworkValueError("This cannot be") from None


def with_files(contract: NetworkBackendContract) -> Snapshot:
    return Snapshot({path: FileState(text.encode()) for path, text in contract.files.items()}, nics=NICS)


def test_stale_files_that_stay_are_named() -> None:
    contract = test_ifcfg.TestContract()
    contract.test_stale_files_go(Ifcfg(), with_files(contract))
    with pytest.raises(AssertionError, match=f"left: .*{test_ifcfg.FOLDER}/route-eth0"):
        contract.test_stale_files_go(RemovesNothing(), with_files(contract))


def test_files_of_others_that_are_written_are_named() -> None:
    contract, example = test_ifcfg.TestContract(), EXAMPLES["address+default"]
    contract.test_files_of_others_are_not_touched(Ifcfg(), with_files(contract), example)
    with pytest.raises(AssertionError, match=f"of other interfaces: .*{test_ifcfg.FOLDER}/ifcfg-eth9"):
        contract.test_files_of_others_are_not_touched(WritesAll(), with_files(contract), example)


def test_what_a_change_before_has_left_is_found() -> None:
    contract, example = test_netifrc.TestContract(), EXAMPLES["nothing"]  # after a VLAN
    contract.test_one_change_after_another_leaves_nothing_behind(Netifrc(), with_files(contract), example)
    with pytest.raises(AssertionError, match="still there: storage"):
        contract.test_one_change_after_another_leaves_nothing_behind(
            KeepsWhatIsRemoved(), with_files(contract), example
        )


def test_a_refusal_that_names_no_interface_is_found() -> None:
    contract, example = test_netifrc.TestContract(), EXAMPLES["address+default+ra-on"]
    contract.test_what_is_written_is_read_back(Netifrc(), with_files(contract), example, True)
    with pytest.raises(AssertionError, match="it does not say whose it is: This cannot be"):
        contract.test_what_is_written_is_read_back(SaysNotWhose(), with_files(contract), example, True)

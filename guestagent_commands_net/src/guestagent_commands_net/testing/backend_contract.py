"""What every network backend has to keep."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest

from guestagent_commands_net.backends import FileState, NetworkBackend, Plan, Snapshot, Step, apply_changes
from guestagent_commands_net.model import Change, Interface, Nic, merge
from guestagent_core import Context
from guestagent_core.errors import InvalidArgumentError
from guestagent_core.testing.contract import Contract

from .examples import Example, examples

__all__ = ("NetworkBackendContract",)

_NIC = Nic("eth0", "bc:76:4e:20:00:42")
_NICS = (_NIC, *(Nic(f"eth{number}", f"bc:76:4e:20:01:0{number}") for number in range(1, 10)))


class NetworkBackendContract(Contract):
    """The clauses of :class:`~guestagent_commands_net.backends.NetworkBackend`; a vendor's test gives the fixture
    ``backend``: an object of it.
    """

    group = "guestagent.network_backends"
    files: ClassVar[Mapping[str, str]] = {}
    """Files that are there before, by their path: with other interfaces, with comments, with settings of somebody's
    own, also for ``eth0``. The contract's interfaces are ``eth0``, ``bond7``, ``eth0.77`` and ``storage``."""
    kept: ClassVar[tuple[str, ...]] = ()
    """Lines, or parts of some, of :attr:`files` that have to be there after any change of ``eth0``."""
    stale: ClassVar[Mapping[str, str]] = {}
    """Further files by their path that belong to ``eth0`` and are about addresses that it loses, such as those of
    aliases and routes: all of them go with any change of its addresses."""
    unsupported: ClassVar[frozenset[str]] = frozenset()
    """Features of :func:`~guestagent_commands_net.testing.examples` that the format cannot express. Asking for one has
    to be an error, not a configuration that lacks it."""
    facts: ClassVar[Mapping[str, str]] = {}
    """What ``gather`` would have found out by running programs."""

    def as_read(self, interface: Interface) -> Interface:
        """Returns ``interface`` as the format gives it back, where it has one way to say what the model has several
        for. Default: as it is.
        """
        return interface

    @pytest.fixture
    def before(self) -> Snapshot:
        return Snapshot({path: FileState(text.encode()) for path, text in self.files.items()}, self.facts, _NICS)

    def test_it_is_a_backend(self, backend: NetworkBackend) -> None:
        """A backend has the attributes and methods of ``NetworkBackend``, and its priority is a whole number."""
        assert isinstance(backend, NetworkBackend), "a backend has the attributes and methods of NetworkBackend"
        assert isinstance(backend.priority, int)

    def test_nothing_is_done_for_nothing(self, backend: NetworkBackend, before: Snapshot) -> None:
        """A change without interfaces needs no file. Return only the files that differ from the snapshot's."""
        assert backend.render(Change(whole=False), before) == ()

    @pytest.mark.parametrize("example", examples(), ids=str)
    @pytest.mark.parametrize("empty", [True, False], ids=["in an empty machine", "among other files"])
    def test_what_is_written_is_read_back(
        self, backend: NetworkBackend, before: Snapshot, example: Example, empty: bool
    ) -> None:
        """``read`` gives back what ``render`` was given, and rendering it again changes nothing.

        What the format cannot express belongs in ``unsupported``, and ``render`` refuses it with an
        ``InvalidArgumentError`` that names the interface. If the format has one way to say what the model has several
        for, say so in ``as_read``.
        """
        snapshot = Snapshot(facts=self.facts, nics=_NICS) if empty else before
        change = Change(self._with_members(example.interface), whole=False)
        if example.features & self.unsupported:
            with pytest.raises(InvalidArgumentError) as caught:
                backend.render(change, snapshot)
            assert example.interface.name in str(caught.value), f"it does not say whose it is: {caught.value}"
            return
        old = {interface.name: interface for interface in backend.read(snapshot.files, _NICS)}
        after = apply_changes(snapshot.files, backend.render(change, snapshot))
        found = {interface.name: interface for interface in backend.read(after, _NICS)}
        for interface in change.interfaces:
            assert found.get(interface.name) == self.as_read(merge(old.get(interface.name), interface))
        assert backend.render(change, replace(snapshot, files=after)) == (), "doing it again changes something"

    @pytest.mark.parametrize("example", examples(), ids=str)
    def test_others_keep_what_they_have(self, backend: NetworkBackend, before: Snapshot, example: Example) -> None:
        """Interfaces that are not part of a change stay as they are, and so do the texts of ``kept``.

        Change the lines that you know, where they are, instead of writing files anew.
        """
        if example.features & self.unsupported:
            pytest.skip("this format cannot express it")
        change = Change(self._with_members(example.interface), whole=False)
        self._others_stay(backend, before, change)

    @pytest.mark.parametrize("second", examples(), ids=str)
    def test_one_change_after_another_leaves_nothing_behind(
        self, backend: NetworkBackend, before: Snapshot, second: Example
    ) -> None:
        """Whatever an interface was like, it is only what it was asked to be last, and asking again changes nothing.

        Take out what ``read`` finds of an interface before you put in what it is to be; of one that is removed also
        what it was made of, such as a VLAN's number or a bond's members.
        """
        if second.features & self.unsupported:
            pytest.skip("this format cannot express it")
        first = self._one_before(second)
        members = self._with_members(first.interface)
        files = apply_changes(before.files, backend.render(Change(members, whole=False), before))
        wanted = self._with_members(second.interface)
        names = {interface.name for interface in wanted}
        removed = tuple(interface.name for interface in members if interface.name not in names)
        change = Change(wanted, whole=False, removed=removed)
        old = {interface.name: interface for interface in backend.read(files, _NICS)}
        after = self._others_stay(backend, replace(before, files=files), change, own_kept="eth0" not in removed)
        found = {interface.name: interface for interface in backend.read(after, _NICS)}
        for interface in wanted:
            assert found.get(interface.name) == self.as_read(merge(old.get(interface.name), interface))
        left = sorted(found.keys() & set(removed))
        assert not left, f"still there: {', '.join(left)}"
        assert backend.render(change, replace(before, files=after)) == (), "doing it again changes something"

    @pytest.mark.parametrize("example", [each for each in examples() if each.interface.name == "eth0"], ids=str)
    def test_files_of_others_are_not_touched(self, backend: NetworkBackend, before: Snapshot, example: Example) -> None:
        """A file that is about other interfaces alone is not among those that a change returns, nor is one as it is.

        Compare with the snapshot what you have rendered, and return what differs.
        """
        if example.features & self.unsupported:
            pytest.skip("this format cannot express it")
        change = Change(self._with_members(example.interface), whole=False)
        changes = backend.render(change, before)
        touched = {each.path for each in changes} & self._files_of_others(backend, before, change)
        assert not touched, f"of other interfaces: {', '.join(sorted(touched))}"
        same = [
            each.path
            for each in changes
            if each.path in before.files and each.content == before.files[each.path].content
        ]
        assert not same, f"nothing is new in {', '.join(same)}"

    def test_stale_files_go(self, backend: NetworkBackend, before: Snapshot) -> None:
        """With a change of addresses, and with the interface, go the files of its aliases and routes, and no others.

        Return a ``FileChange`` without content for each of them that the snapshot has.
        """
        if not self.stale:
            pytest.skip("this format has no such files")
        stale = {path: FileState(text.encode()) for path, text in self.stale.items()}
        snapshot = replace(before, files={**before.files, **stale})
        example = next(each for each in examples() if each.features == {"address"})
        for change in (Change((example.interface,), whole=False), Change(whole=False, removed=("eth0",))):
            after = apply_changes(snapshot.files, backend.render(change, snapshot))
            assert not after.keys() & stale.keys(), f"left: {', '.join(sorted(after.keys() & stale.keys()))}"
            others = self._files_of_others(backend, before, change)
            assert {path: after.get(path) for path in others} == {path: before.files[path] for path in others}

    def test_a_removed_interface_is_gone_and_no_other(self, backend: NetworkBackend, before: Snapshot) -> None:
        """An interface that is removed is read no more, and removing it again changes nothing."""
        example = next(each for each in examples() if "address" in each.features)
        files = apply_changes(before.files, backend.render(Change((example.interface,), whole=False), before))
        after = self._others_stay(
            backend, replace(before, files=files), Change(whole=False, removed=("eth0",)), own_kept=False
        )
        assert all(interface.name != "eth0" for interface in backend.read(after, _NICS))
        assert backend.render(Change(whole=False, removed=("eth0",)), replace(before, files=after)) == ()

    @pytest.mark.parametrize("version", [4, 6])
    def test_one_version_is_changed_alone(self, backend: NetworkBackend, before: Snapshot, version: int) -> None:
        """A change of one version of IP leaves what the interface has of the other.

        ``merge`` of ``guestagent_commands_net.model`` joins both for you.
        """
        needed = {"address", "address6", "default", "default6"}
        if needed & self.unsupported:
            pytest.skip("this format has one version of IP")
        full = next(each.interface for each in examples() if each.features == needed)
        files = apply_changes(before.files, backend.render(Change((full,), whole=False), before))
        current = next(each for each in backend.read(files, _NICS) if each.name == "eth0")
        address = ip_interface("203.0.113.9/28" if version == 4 else "2001:db8:77::9/64")
        for wanted in (
            Interface("eth0", _NIC.mac, addresses=(address,), versions=(version,)),
            Interface("eth0", _NIC.mac, versions=(version,)),
        ):
            change = Change((wanted,), whole=False)
            after = self._others_stay(backend, replace(before, files=files), change)
            found = next((each for each in backend.read(after, _NICS) if each.name == "eth0"), None)
            assert found == self.as_read(merge(current, wanted))

    def test_an_odd_label_is_no_line_of_its_own(self, backend: NetworkBackend, before: Snapshot) -> None:
        """A label is text of the host's: no quote or line break in it becomes a line, or a command, of the file."""
        interface = Interface("eth0", _NIC.mac, "x'\"\n$(reboot)\\", (ip_interface("192.0.2.42/24"),))
        changes = backend.render(Change((interface,), whole=False), before)
        after = apply_changes(before.files, changes)
        assert not any(b"$(reboot)" in state.content for state in after.values())
        assert next(each for each in backend.read(after, _NICS) if each.name == "eth0").addresses == interface.addresses

    def test_rendering_is_pure(
        self, backend: NetworkBackend, before: Snapshot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``render`` and ``plan`` open no file, and give the same for the same. Read files in ``gather``."""
        change = Change((next(each for each in examples() if "address" in each.features).interface,), whole=False)
        first = backend.render(change, before)  # what it imports, it may import now

        def refuse(*arguments: object, **more: object) -> NoReturn:
            raise AssertionError(f"a file was opened: {arguments}")

        with monkeypatch.context() as patch:
            patch.setattr(builtins, "open", refuse)
            patch.setattr(os, "open", refuse)
            second = backend.render(change, before)
            backend.plan(change, before, first)
        assert first == second

    @pytest.mark.parametrize("example", examples(), ids=str)
    def test_the_plan_is_about_the_change_alone(
        self, backend: NetworkBackend, before: Snapshot, example: Example
    ) -> None:
        """A plan has steps that make the new files count, and steps that make the old ones count again.

        Each has a program of words without NUL, a time, and no interface that does not change.
        """
        if example.features & self.unsupported:
            pytest.skip("this format cannot express it")
        change = Change(self._with_members(example.interface), whole=False)
        changes = backend.render(change, before)
        plan = backend.plan(change, before, changes)
        assert isinstance(plan, Plan)
        assert plan.apply.after or plan.apply.before, "nothing makes the new files count"
        assert plan.revert.after or plan.revert.before, "nothing makes the old files count again"
        after = apply_changes(before.files, changes)
        steps = [*self._steps(plan), *backend.validate(change, after, "/the/folder")]
        for step in steps:
            assert step.argv, "a step has no program"
            assert all(type(word) is str and "\0" not in word for word in step.argv)
            assert step.timeout > 0
            assert step.interface in (None, *change.names), f"{step.argv} is about an interface that does not change"

    def test_nothing_is_held_where_nothing_is_installed(self, backend: NetworkBackend, tmp_path: Path) -> None:
        """In an empty guest a backend claims no interface and reads none: another one may be the right one there."""
        assert backend.probe(Context(root=tmp_path), _NICS) == {}
        assert backend.read(backend.gather(Context(root=tmp_path), _NICS).files) == ()

    def test_what_is_there_is_gathered(self, backend: NetworkBackend, before: Snapshot, tmp_path: Path) -> None:
        """``gather`` returns all of :attr:`files`, byte by byte, and nothing else."""
        for path, state in before.files.items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(state.content)
        found = backend.gather(Context(root=tmp_path), _NICS)
        assert {path: state.content for path, state in found.files.items()} == {
            path: state.content for path, state in before.files.items()
        }

    def _one_before(self, second: Example) -> Example:
        """Another example that the format can express: the one before it, and for the first one the last."""
        expressible = [each for each in examples() if not each.features & self.unsupported]
        return expressible[expressible.index(second) - 1]

    def _files_of_others(self, backend: NetworkBackend, before: Snapshot, change: Change) -> set[str]:
        """The files without which other interfaces are different, and those of the change are the same."""

        def read(files: Mapping[str, FileState]) -> tuple[list[Interface], list[Interface]]:
            found = backend.read(files, _NICS)
            ours = [interface for interface in found if interface.name in change.names]
            return ours, [interface for interface in found if interface.name not in change.names]

        ours, others = read(before.files)
        found = set()
        for path in before.files:
            without = {each: state for each, state in before.files.items() if each != path}
            ours_without, others_without = read(without)
            if ours_without == ours and others_without != others:
                found.add(path)
        return found

    def _with_members(self, interface: Interface) -> tuple[Interface, ...]:
        members = getattr(interface.link, "members", ())
        macs = {nic.name: nic.mac for nic in _NICS}
        return (*(Interface(name, macs[name]) for name in members), interface)

    def _others_stay(
        self, backend: NetworkBackend, before: Snapshot, change: Change, *, own_kept: bool = True
    ) -> dict[str, FileState]:
        after = apply_changes(before.files, backend.render(change, before))
        others = [interface for interface in backend.read(before.files, _NICS) if interface.name not in change.names]
        found = {interface.name: interface for interface in backend.read(after, _NICS)}
        for interface in others:
            assert found.get(interface.name) == interface, f"{interface.name} is another now"
        everything = b"\n".join(state.content for state in after.values()).decode()
        for text in self.kept if own_kept else ():
            assert text in everything, f"lost: {text!r}"
        return after

    def _steps(self, plan: Plan) -> list[Step]:
        sides = (plan.apply, plan.revert)
        return [step for side in sides for step in (*side.before, *side.after, *side.harder)]

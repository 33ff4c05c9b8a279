"""Discovery as users meet it: distributions installed for real, and the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

import pytest


class Environment(Protocol):
    def install(self, source: Path, *options: str) -> None: ...
    def uninstall(self, name: str) -> None: ...
    def guestagent(self, *arguments: str, **environment: str) -> Any: ...


def plugin(environment: Environment, name: str, *options: str) -> dict[str, str]:
    """Returns what `guestagent plugins` shows of the command pack ``name``."""
    done = environment.guestagent("plugins", "--json", *options)
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout) if (row["group"], row["name"]) == ("guestagent.commands", name)]
    assert rows, f"{name} is not shown"
    row: dict[str, str] = rows[0]
    return row


def test_an_installed_pack_is_on(environment: Environment, vendor: Path) -> None:
    environment.install(vendor / "acme")
    row = plugin(environment, "acme")
    assert (row["package"], row["version"], row["on"]) == ("guestagent_acme", "1.2.3", "yes")
    assert environment.guestagent("check").returncode == 0
    table = environment.guestagent("plugins").stdout.splitlines()
    assert table[0].split() == ["GROUP", "NAME", "PACKAGE", "VERSION", "ON", "PROBLEM"]
    assert ["guestagent.commands", "acme", "guestagent_acme", "1.2.3", "yes"] in [line.split() for line in table]


def test_a_pack_that_is_left_out_is_not_imported(environment: Environment, vendor: Path, tmp_path: Path) -> None:
    environment.install(vendor / "broken")
    config = tmp_path / "config.toml"
    config.write_text('[agent]\ncommands = ["*", "!exits", "!cannot-import", "!no-pack", "!cannot-start"]\n')
    row = plugin(environment, "exits", "--config", str(config))
    assert (row["on"], row["problem"]) == ("no", "")
    assert environment.guestagent("check", "--config", str(config)).returncode == 0


def test_two_packages_that_offer_one_name_are_an_error_that_names_both(environment: Environment, vendor: Path) -> None:
    environment.install(vendor / "acme")
    environment.install(vendor / "rival")
    row = plugin(environment, "acme")
    assert row["on"] == "failed"
    assert "guestagent_acme" in row["problem"]
    assert "guestagent_rival" in row["problem"]
    done = environment.guestagent("check")
    assert done.returncode == 1
    assert "guestagent_acme and by guestagent_rival" in done.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cannot-import", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("exits", "SystemExit: exits.py was imported"),
        ("no-pack", "neither a CommandBase subclass nor a module with one"),
        ("cannot-start", "OSError: no such device"),
    ],
)
def test_a_pack_that_fails_is_named_with_its_package_and_reason(
    environment: Environment, vendor: Path, name: str, reason: str
) -> None:
    environment.install(vendor / "broken")
    row = plugin(environment, name)
    assert row["on"] == "failed"
    assert "guestagent_broken" in row["problem"]
    assert reason in row["problem"]
    check = environment.guestagent("check")
    assert check.returncode == 1
    assert f"guestagent: guestagent.commands {name!r}: guestagent_broken" in check.stderr
    assert "Traceback" not in check.stderr


def test_a_named_plugin_that_is_not_installed_is_an_error_that_lists_what_is(
    environment: Environment, vendor: Path, tmp_path: Path
) -> None:
    environment.install(vendor / "acme")
    config = tmp_path / "config.toml"
    config.write_text(
        '[agent]\ncommands = ["nosuch"]\nhooks = ["nobody"]\n'
        '[[channel]]\nexchange = "pigeon"\n[[channel]]\nname = "two"\nexchange = "local"\nparser = "morse"\n'
    )
    done = environment.guestagent("check", "--config", str(config))
    assert done.returncode == 1
    assert "guestagent.commands 'nosuch': not installed; installed is acme, builtin" in done.stderr
    assert "guestagent.hooks 'nobody': not installed; installed is acme-policy" in done.stderr
    assert re.search(
        r"guestagent.exchanges 'pigeon': not installed; installed is .*\blocal, (?:.*, )?spool", done.stderr
    )
    assert "guestagent.parsers 'morse': not installed; installed is json" in done.stderr


def test_a_new_entry_point_of_an_editable_package_is_seen_at_once(
    environment: Environment, vendor: Path, tmp_path: Path
) -> None:
    source = tmp_path / "acme"
    shutil.copytree(vendor / "acme", source)
    environment.install(source, "--editable")
    assert plugin(environment, "acme")["on"] == "yes"
    project = source / "pyproject.toml"
    added = '[project.entry-points."guestagent.commands"]\nsecond = "guestagent_acme:Disks"\n'
    project.write_text(project.read_text().replace('[project.entry-points."guestagent.commands"]\n', added))
    environment.install(source, "--editable")
    assert plugin(environment, "second")["on"] == "yes"


def test_an_uninstalled_package_is_gone(environment: Environment, vendor: Path) -> None:
    environment.install(vendor / "acme")
    environment.uninstall("guestagent_acme")
    assert "acme" not in environment.guestagent("plugins").stdout


def test_whose_group_it_is_decides_what_is_on(environment: Environment, vendor: Path, tmp_path: Path) -> None:
    source = tmp_path / "acme"
    shutil.copytree(vendor / "acme", source)
    project = source / "pyproject.toml"
    project.write_text(
        project.read_text().replace(':add"', ':nosuch"')
        + '\n[project.entry-points."guestagent.network_backends"]\nacme = "guestagent_acme:Disks"\n'
    )
    environment.install(source)
    rows = json.loads(environment.guestagent("plugins", "--json").stdout)
    state = {(row["group"], row["name"]): row["on"] for row in rows}
    assert state["guestagent.network_backends", "acme"] == "-"
    assert state["guestagent.cli", "acme"] == "failed"
    assert state["guestagent.exchanges", "spool"] == "no"


def test_a_package_adds_a_subcommand(environment: Environment, vendor: Path) -> None:
    environment.install(vendor / "acme")
    assert "of guestagent_acme" in environment.guestagent("--help").stdout
    assert environment.guestagent("acme", "--name", "moon").stdout == "hello, moon\n"


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("[commands.acme]\nfolder = 5\n", "commands.acme: folder: expected a string, found an integer"),
        ('[commands.acme]\nfodler = "x"\n', "commands.acme: unknown key 'fodler' (known: folder)"),
        ('[commands.acmee]\nfolder = "x"\n', "commands.acmee: no such plugin is on (on: acme, builtin"),
        ('[hooks.acme-policy]\nword = "x"\n', "hooks.acme-policy: guestagent_acme: got an unexpected keyword"),
        (
            '[[channel]]\nexchange = "spool"\n',
            "channel 'spool': options: guestagent_acme: missing a required argument: 'spool'",
        ),
        (
            '[[channel]]\nexchange = "local"\n[channel.options]\nframing = "xml"\n',
            "channel 'local': options: framing: expected one of 'json', 'line', found a string",
        ),
    ],
)
def test_options_are_checked_by_the_class_that_takes_them(
    environment: Environment, vendor: Path, tmp_path: Path, table: str, error: str
) -> None:
    environment.install(vendor / "acme")
    config = tmp_path / "config.toml"
    config.write_text(table)
    done = environment.guestagent("check", "--config", str(config))
    assert done.returncode == 1
    assert f"{config}: {error}" in done.stderr

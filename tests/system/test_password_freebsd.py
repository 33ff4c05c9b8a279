"""password on FreeBSD: its password file, and the programs that look after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Guest
from .shadow_files import fields, is_hash_of

MASTER = "# $FreeBSD$\nroot:$1$abcdefgh$xyz:0:0::0:0:Charlie &:/root:/bin/csh\ntoor:*:0:0::0:0::/root:\n"


def program(guest: Guest, path: str, script: str) -> None:
    guest.file(path, f"#!/bin/sh\n{script}\n", 0o755)


def test_without_pw_the_databases_of_freebsd_are_rebuilt(guest: Guest) -> None:
    guest.file("/etc/master.passwd", MASTER, 0o600)
    program(guest, "/usr/sbin/pwd_mkdb", f'echo "$@" > {guest.root}/said; mv "$3" {guest.root}/etc/master.passwd')
    assert guest.set_password("mEoW4567") == ("0", "")
    _, hashed, *rest = fields(guest, "/etc/master.passwd")
    assert is_hash_of(hashed, "mEoW4567")
    assert rest == ["0", "0", "", "0", "0", "Charlie &", "/root", "/bin/csh"]
    copy = f"{guest.root}/etc/master.passwd.tmp.{os.getpid()}"
    assert (guest.root / "said").read_text() == f"-d {guest.root}/etc {copy}\n"
    assert not Path(copy).exists()
    assert (guest.root / "etc/master.passwd").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("script", ["exit 1", None])
def test_databases_that_cannot_be_rebuilt_are_told_as_recorded(guest: Guest, script: str | None) -> None:
    guest.file("/etc/master.passwd", MASTER, 0o600)
    if script is not None:
        program(guest, "/usr/sbin/pwd_mkdb", script)
    assert guest.set_password("mEoW4567") == ("500", "Rebuilding the passwd database failed")
    assert (guest.root / "etc/master.passwd").read_text() == MASTER
    assert sorted(os.listdir(guest.root / "etc")) == [".pwd.lock", "master.passwd"]


def test_pw_gets_the_password_on_its_standard_input(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.file("/etc/master.passwd", MASTER, 0o600)
    program(guest, "/bin/pw", f'{{ echo "$0" "$@"; cat; }} > {tmp_path}/said')
    run = guest.context.programs.run
    monkeypatch.setattr(
        guest.context.programs, "run", lambda argv, **more: run([f"{guest.root}/bin/{argv[0]}", *argv[1:]], **more)
    )
    assert guest.set_password("mEoW4567") == ("0", "")
    assert (tmp_path / "said").read_text() == f"{guest.root}/bin/pw -R {guest.root} usermod root -h 0\nmEoW4567\n"
    assert (guest.root / "etc/master.passwd").read_text() == MASTER

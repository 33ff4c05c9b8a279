"""Everything that was recorded of the original agent, answered by ours: the same, or what the table of faults says."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guestagent_commands_system.key_exchange import PRIME, KeyExchange
from guestagent_commands_system.kms import UP2DATE_FILE, up2date
from guestagent_commands_system.passwords import set_password
from guestagent_core import CommandError
from guestagent_core.builtin import Builtin

from .conftest import Guest
from .updates import archive, log_of, with_installer

VECTORS = Path(__file__).with_name("vectors")
BACKUP = re.compile(r"\.1400000000(\.0)?(?=$|\.)")
OURS = re.compile(r"\.\d{10}(\.\d+)?(?=$|\.)")

# The original's faults, and what is different by design, by the title of the case.
REQUESTS = {
    "json but a list": ("500", "Request is malformed"),
    "json string": ("500", "Request is malformed"),
    "unknown command non-ascii": ("404", "No such agent command 'hé'"),
    "resetnetwork unknown OS": ("404", "No such agent command 'resetnetwork'"),  # it is in another pack
}
DECODED = {
    "md5 '\\n'": "500",  # an empty password
    "sha256 'mEoW4567\\n'": "0",
    f"sha256 '{'x' * 64}\\n'": "0",
}
UPDATES = {"restart fails": ("0", "")}  # the agent is restarted when the answer is out
ACTIVATIONS = {"registration fails": ("500", "Couldn't activate with RHN: 3")}


def recorded(name: str, key: str = "cases") -> list[Any]:
    cases = json.loads((VECTORS / f"{name}.json").read_text())[key]
    assert cases
    return list(cases)


def cases(name: str, key: str = "cases") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", recorded(name, key), ids=lambda case: str(case.get("title", "case")))


def answer_of(case: dict[str, Any]) -> tuple[str, str]:
    answer = case["response"]
    answer = json.loads(answer) if isinstance(answer, str) else answer
    return (answer["returncode"], answer["message"]) if "returncode" in answer else ("", "")


def told(guest: Guest, case: dict[str, Any]) -> tuple[str, str]:
    answer = guest.request(case["request"])
    return answer["returncode"], answer["message"]


def put(guest: Guest, files: dict[str, Any]) -> None:
    for path, form in files.items():
        form = {"content": form} if isinstance(form, str) else form
        file = guest.root / path.lstrip("/")
        if "symlink" in form:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to(form["symlink"])
            continue
        guest.file(path, form["content"], int(form.get("mode", "0644"), 8))
        if "owner" in form and os.geteuid() == 0:
            os.chown(file, *form["owner"])


def check(guest: Guest, expected: dict[str, Any]) -> None:
    """Compares files with those that were recorded, whatever the moment in the names of backups."""
    tree = {OURS.sub(".TIME", path): path for path in guest.tree()}
    for path, form in expected.items():
        file = guest.root / tree[BACKUP.sub(".TIME", path)].lstrip("/")
        if "symlink" in form:
            assert os.readlink(file) == form["symlink"]
            continue
        content = up2date(("d1", "d2")) if form["content"] == "(see up2date.json)" else form["content"]
        assert file.read_text() == content or path == UP2DATE_FILE
        assert f"{stat.S_IMODE(file.stat().st_mode):04o}" == form["mode"]
        if form.get("owner") and os.geteuid() == 0:
            assert f"{file.stat().st_uid}:{file.stat().st_gid}" == form["owner"]


@cases("requests")
def test_requests(new_guest: Callable[..., Guest], case: dict[str, Any]) -> None:
    guest = new_guest(enabled=True)
    guest.registry.add(Builtin(guest.context))
    code, message = told(guest, case)
    if case["title"] in REQUESTS:
        assert (code, message) == REQUESTS[case["title"]]
        return
    message = message.replace("for int()", "for long()")
    expected = answer_of(case)
    assert (code, message) == expected or (expected == ("0", "1.39.1") and (code, message) == ("0", "3.0.0"))


@cases("key_exchange")
def test_key_exchange(guest: Guest, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    private, shared = int(case["agent_private"]), case["shared_decimal"]
    exchange = KeyExchange(int(case["host_public"]), private)
    assert str(exchange.public) == case["agent_public"]
    assert str(pow(exchange.public, int(case["host_private"]), PRIME)) == shared
    for kind in ("ciphertexts_md5", "ciphertexts_sha256"):
        for text, encrypted in case[kind].items():
            if text.strip("\n"):
                assert exchange.decrypt(base64.b64decode(encrypted)).decode() == text.strip("\n")
            else:
                with pytest.raises(CommandError, match="Invalid password data received"):
                    exchange.decrypt(base64.b64decode(encrypted))
    monkeypatch.setattr("secrets.randbelow", lambda below: private - 2)
    assert guest.request(case["keyinit_request"]) == case["keyinit_response"]


@cases("key_exchange", "decoding_behaviour_of_original_for_case_0")
def test_decoding(guest: Guest, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    guest.file("/etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600)
    monkeypatch.setattr("secrets.randbelow", lambda below: -1)  # the private number 1
    guest.request(recorded("key_exchange")[0]["keyinit_request"])
    monkeypatch.undo()
    code, message = guest.call("password", case["input_base64"])
    if "password" in case["result"] or case["title"] in DECODED:
        assert code == DECODED.get(case["title"], "0")
    else:
        text = case["result"]["error"].replace("string index out of range", "Invalid password data received")
        assert f"{code}: {message}" == text


@cases("shadow_files")
def test_shadow_files(guest: Guest, case: dict[str, Any]) -> None:
    put(guest, case["files_before"])
    guest.file("/usr/sbin/pwd_mkdb", f'#!/bin/sh\nfor a; do :; done\nmv "$a" {guest.root}/etc/master.passwd\n', 0o755)
    if case["result"] != "ok":
        with pytest.raises(CommandError) as caught:
            set_password(guest.context, case["user"], case["password"])
        assert f"500: {caught.value}" == case["result"]["error"]
        return
    set_password(guest.context, case["user"], case["password"])
    for path, before in case["files_before"].items():
        file = guest.root / path.lstrip("/")
        assert f"{stat.S_IMODE(file.stat().st_mode):04o}" == before["mode"]
        day = 2 if path == "/etc/shadow" else None  # the original left the day of the change as it was
        for old, new in zip(before["content"].splitlines(), file.read_text().splitlines(), strict=True):
            if not old.startswith("root:"):
                assert new == old
                continue
            fields, changed = old.split(":"), new.split(":")
            assert re.match(r"\$(6|y)\$", changed[1])  # never the weak scheme that was there, or that it fell back to
            fields[1] = changed[1]
            if day is not None:
                fields[day] = changed[day]
            assert changed == fields


@cases("injectfile")
def test_injectfile(guest: Guest, case: dict[str, Any]) -> None:
    before = guest.tree()
    put(guest, case["files_before"])
    assert told(guest, case) == answer_of(case)
    check(guest, case["files_after"])
    if not case["files_after"]:
        assert guest.tree() == before


@cases("agentupdate")
def test_agentupdate(new_guest: Callable[..., Guest], case: dict[str, Any]) -> None:
    guest, title = new_guest(enabled=True), case["title"]
    if title != "no init script":
        guest.file("/etc/init.d/nova-agent", f'echo "restart $1" >> {guest.root}/log\n')
    if title == "./installer.sh":
        digest = archive(guest, {"installer.sh": (f"#!/bin/sh\necho installer >> {guest.root}/log\n", 0o755)}, "./.")
    elif title.startswith("installer two directories down"):
        digest = with_installer(guest, name="a/b/installer.sh")
    else:
        mode = 0o644 if title == "installer not executable" else 0o755
        digest = with_installer(guest, "exit 7" if title == "installer fails" else "", mode=mode)
    if title == "file missing on server":
        (guest.root / "srv/nova-agent-1.40.tar.gz").unlink()
    old = re.findall(r"[0-9a-fA-F]{32}", case["request"])[-1]
    asked = case["request"].replace(old, digest.upper() if old != old.lower() else digest)
    expected = UPDATES.get(title, answer_of(case))
    expected = expected[0], expected[1].replace(old, digest.upper()).replace(old.lower(), digest)
    assert told(guest, {"request": asked}) == expected
    ran = ["installer" if command.startswith("installer ") else "restart" for command in case["commands"]]
    log = log_of(guest, len(ran)) if ran else []
    assert [line.partition(" ")[0] for line in log] == ran
    assert (guest.root / "var/run/nova-agent.tar.gz").exists() == ("/var/run/nova-agent.tar.gz" in case["left_behind"])


@cases("activate")
def test_activate(guest: Guest, case: dict[str, Any]) -> None:
    put(guest, case["files_before"])
    if case["title"] != "no rhnreg_ks":
        status = 3 if case["title"] == "registration fails" else 0
        script = f'#!/bin/sh\necho "/usr/sbin/rhnreg_ks $*" >> {guest.root}/log\nexit {status}\n'
        guest.file("/usr/sbin/rhnreg_ks", script, 0o755)
    assert told(guest, case) == ACTIVATIONS.get(case["title"], answer_of(case))
    log = guest.root / "log"
    assert (log.read_text().splitlines() if log.exists() else []) == case["commands"]
    check(guest, case["files_after"])
    assert not (guest.root / "etc/sysconfig/rhn/systemid").exists()


@cases("up2date")
def test_up2date(case: dict[str, Any]) -> None:
    domains = (case["domains"],) if isinstance(case["domains"], str) else tuple(case["domains"])
    assert up2date(domains) == case["files"][UP2DATE_FILE]

"""After a full run, with the most talkative log, no secret is anywhere but where it belongs."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent_commands_system.key_exchange import GENERATOR, PRIME
from guestagent_core.client import LocalClient

from .conftest import encrypted
from .shadow_files import PASSWD

PASSWORD = "Pa55-of-the-marker-test"
CONTENT = "content-of-the-marker-test"
KEY = "KEY-of-the-marker-test"
URL_PASSWORD = "url-of-the-marker-test"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield Path(folder)


def fill(root: Path) -> None:
    for path, content, mode in (
        ("etc/passwd", PASSWD, 0o644),
        ("etc/shadow", "root:*:15000:0:99999:7:::\n", 0o600),
        ("etc/redhat-release", "Red Hat Enterprise Linux release 9\n", 0o644),
        ("usr/sbin/rhnreg_ks", '#!/bin/sh\necho "$@"\necho "$@" >&2\nexit 3\n', 0o755),
    ):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)


def converse(client: LocalClient) -> tuple[list[str], str]:
    """Runs every command that is given a secret, well and badly; returns all answers, and the shared number."""
    answers = []

    def call(name: str, value: object) -> str:
        answer = client.request(json.dumps({"name": name, "value": value}).encode()).decode()
        answers.append(answer)
        return str(json.loads(answer)["message"])

    def keys() -> int:
        return pow(int(call("keyinit", str(pow(GENERATOR, 98765, PRIME)))), 98765, PRIME)

    def inject(path: str) -> None:
        call("injectfile", base64.b64encode(f"{path},{CONTENT}".encode()).decode())

    call("password", encrypted(f"{PASSWORD}\n", 5))
    shared = keys()
    call("password", encrypted(f"{PASSWORD}\nand\n", shared))
    call("password", encrypted(f"{PASSWORD}\n", shared))
    assert json.loads(answers[-1])["returncode"] == "0", answers[-1]
    for path in ("/srv/injected", "/srv", "relative", "/etc/passwd/x"):
        inject(path)
    both = {"b64_path": "L3Nydi9pbmplY3RlZA==", "b64_file": base64.b64encode(CONTENT.encode()).decode()}
    call("file_inject", both)
    call("file_inject", {**both, "b64_path": "!"})
    call("kmsactivate", {"activation_key": KEY, "profile": "p", "domains": ["d"]})
    call("kmsactivate", {"activation_key": KEY, "profile": "p", "domains": ["d d"]})
    call("kmsactivate", {"activation_key": f"{KEY}\n", "profile": "p", "domains": ["d"]})
    call("agentupdate", f"http://user:{URL_PASSWORD}@127.0.0.1:9/agent.tar,0123")
    call("agentupdate", f"http://user:{URL_PASSWORD}@[/agent.tar,0123")
    call("agentupdate", f"http://user:{URL_PASSWORD}@127.0.0.1/agent.tar,0123")
    return answers, str(shared)


@pytest.mark.real
def test_no_secret_is_where_it_does_not_belong(folder: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: strace)")
    root = folder / "root"
    fill(root)
    (folder / "config.toml").write_text(
        f'[agent]\nroot = "{root}"\nlog_level = "debug"\nstate_dir = "{folder}/state"\n'
        '[[channel]]\nexchange = "local"\n[commands.system.agentupdate]\nenabled = true\n'
    )
    socket, trace = folder / "agent.sock", folder / "trace"
    command = ["strace", "-f", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(trace)]
    command += [sys.executable, "-m", "guestagent_core", "run", "--config", str(folder / "config.toml")]
    command += ["--socket", str(socket), "--log-file", str(folder / "log"), "--pid-file", str(folder / "pid")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as agent:
        assert agent.stdout is not None
        while not (socket.exists() and (folder / "pid").exists()):
            if agent.poll() is not None:
                pytest.skip(f"strace may not trace processes here: {agent.stdout.read().decode()}")
        with LocalClient(socket) as client:
            answers, shared = converse(client)
        os.kill(int((folder / "pid").read_text()), 15)
        output = agent.stdout.read().decode()
    assert (root / "srv/injected").read_text() == CONTENT
    log = (folder / "log").read_text()
    assert "local: password" in log, "it is the log of all this"
    secrets = {PASSWORD, CONTENT, KEY, URL_PASSWORD, shared}
    secrets |= {base64.b64encode(secret.encode()).decode()[:-4] for secret in (PASSWORD, CONTENT)}
    for secret in secrets:
        assert secret not in output
        assert secret not in "".join(answers)
        for path in folder.rglob("*"):
            if path.is_file() and path != trace and not path.name.startswith("injected"):
                assert secret.encode() not in path.read_bytes(), path
        for line in trace.read_text().splitlines():
            # The key is an argument of this program, which takes it in no other way.
            assert secret not in line or (secret == KEY and "/usr/sbin/rhnreg_ks" in line), line
    assert KEY in trace.read_text(), "it is the trace of all this"
    assert os.geteuid() != 0 or '"chpasswd"' in trace.read_text()

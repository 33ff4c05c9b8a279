"""An idle agent sleeps: no thread of it makes a system call."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from guestagent_core.client import LocalClient

_SECONDS = 5


@pytest.mark.real
def test_an_idle_agent_makes_no_system_call(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: strace)")
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        socket = Path(folder, "agent.sock")
        command = [sys.executable, "-m", "guestagent_core", "run", "--root", folder, "--socket", str(socket)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent, LocalClient(socket) as client:
            assert agent.stderr is not None
            while "commands may be run" not in agent.stderr.readline():
                pass
            # A connected client that says nothing, and a thread for exclusive commands, must cost nothing either.
            assert b'"0"' in client.request(b'{"name": "version"}')
            trace = tmp_path / "trace"
            with subprocess.Popen(
                ["strace", "-f", "-p", str(agent.pid), "-o", str(trace)], stderr=subprocess.PIPE, text=True
            ) as tracer:
                assert tracer.stderr is not None
                if "attached" not in tracer.stderr.readline():
                    pytest.skip("strace may not trace processes here")
                time.sleep(_SECONDS)
                tracer.send_signal(signal.SIGINT)
            agent.terminate()
        calls = [line for line in trace.read_text().splitlines() if "resumed" in line or " = " in line]
        assert not calls, os.linesep.join(calls)

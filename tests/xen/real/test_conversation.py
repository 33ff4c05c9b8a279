"""A host that has the distribution's programs and nothing of ours, and the agent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.xen.harness import Agent

pytestmark = pytest.mark.real


def test_a_request_of_xenstore_write_is_answered_for_xenstore_read(place: Any, folder: Path) -> None:
    host, request, answer = place.daemon.host, f"{place.home}/data/host/a1", f"{place.home}/data/guest/a1"
    with subprocess.Popen(
        ["xenstore-watch", "-n", "2", answer], env=host.environment, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == f"{answer}\n"
        with Agent(folder, place.way):
            host.write({request: b'{"name": "features", "value": ""}'})
            assert watching.stdout.readline() == f"{answer}\n"
            assert json.loads(host.read(answer)) == {"returncode": "0", "message": "features,version"}
            assert host.read(request) is None

"""The functions of agentlib."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from tests.unmeasured import unmeasured

from guestagent_core import __version__
from guestagent_core.config import AgentConfig, Config
from guestagent_legacy.modules import active_modules, old_modules
from guestagent_legacy.session import Session


class Good:
    def get_request(self) -> None: ...
    def put_response(self) -> None: ...
    def parse_request(self) -> None: ...


@pytest.fixture
def agentlib(tmp_path: Any) -> Iterator[ModuleType]:
    with old_modules(Session(Config(agent=AgentConfig(root=tmp_path)))):
        import agentlib  # type: ignore[import-not-found]

        yield agentlib


def test_the_version_is_the_agent_s(agentlib: Any) -> None:
    assert agentlib.get_version() == __version__


def test_wrong_use_of_register_is_told_as_it_was(agentlib: Any) -> None:
    for plugins in ((), (Good(),), (Good(), Good(), Good())):
        with pytest.raises(TypeError, match=r"^run\(\) requires 2 plugin instances as arguments$"):
            agentlib.register(*plugins)
    for missing, kind in (
        ("get_request", "An 'exchange'"),
        ("put_response", "An 'exchange'"),
        ("parse_request", "A 'parser'"),
    ):
        poor = type("Poor", (), {name: value for name, value in vars(Good).items() if name != missing})()
        with pytest.raises(AttributeError, match=f"^{kind} plugin needs to define a '{missing}' method$"):
            agentlib.register(poor, poor)
    modules = active_modules()
    assert modules is not None
    session = modules.session
    assert session.pairs == []
    good = Good()
    assert agentlib.register(good, good) is None
    assert session.pairs == [(good, good)]


def test_a_password_is_hashed_by_crypt(agentlib: Any) -> None:
    # By `openssl passwd`, -6 and -1.
    assert agentlib.encrypt_password("Hello world!", "$6$saltstring") == (
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    )
    assert agentlib.encrypt_password("password", "$1$saltsalt$") == "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"
    with pytest.raises(SystemError, match=r"^crypt\(\) failed with errno: \d+$"):
        agentlib.encrypt_password("password", "*")
    with pytest.raises(TypeError):
        agentlib.encrypt_password("a\0b", "$6$saltstring")
    with pytest.raises(TypeError):
        agentlib.encrypt_password(None, "$6$saltstring")


def test_another_root_keeps_the_machine_s_name(agentlib: Any, caplog: pytest.LogCaptureFixture) -> None:
    import socket

    name = socket.gethostname()
    agentlib.sethostname("guest1")
    assert socket.gethostname() == name
    assert "The host name is not set" in caplog.text
    with pytest.raises(TypeError):
        agentlib.sethostname(5)


def test_the_old_modules_are_gone_afterwards() -> None:
    with old_modules(Session()):
        import plugins  # type: ignore[import-not-found]

        assert plugins.JsonParser
        with pytest.raises(ImportError, match="Another module named plugins is loaded already"):
            with old_modules(Session()):
                pass
    assert not {"agentlib", "commands", "plugins"} & set(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        import agentlib  # noqa: F401


NAMESPACED = """
import subprocess
from pathlib import Path
from guestagent_legacy.modules import old_modules
from guestagent_legacy.session import Session
with old_modules(Session()):
    import agentlib
    subprocess.run("ip link add e0 address 02:00:00:AB:CD:01 type veth peer name e1 && ip link set e0 up && "
                   "{ ip tuntap add t0 mode tun || true; } 2>/dev/null", shell=True, check=True)
    print(*sorted(interface for interface in agentlib.get_interfaces() if interface[0] in ("e0", "t0", "lo")))
    agentlib.sethostname("a" * 70)
    print(Path("/proc/sys/kernel/hostname").read_text().strip())
    try:
        subprocess.run(["true"])
        import os
        os.setuid(65534)
        agentlib.sethostname("b")
    except SystemError as error:
        print(error)
"""


@pytest.mark.real
def test_interfaces_and_host_name_are_the_kernel_s() -> None:
    unshared = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, check=False)
    if unshared.returncode != 0:
        pytest.skip("namespaces are not to be had here")
    done = subprocess.run(
        ["unshare", "--net", "--uts", sys.executable, "-W", "error", "-c", NAMESPACED],
        capture_output=True,
        text=True,
        check=False,
        env=unmeasured(),
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "('e0', True, '02:00:00:ab:cd:01')",
        "a" * 63,
        "sethostname() failed with errno '1'",
    ]

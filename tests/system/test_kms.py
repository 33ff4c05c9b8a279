"""kmsactivate, as recorded of the original agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestagent_commands_system.kms import up2date

from .conftest import Guest

RED_HAT = "Red Hat Enterprise Linux Server release 6.4 (Santiago)\n"
VALUE = {"activation_key": "KEY-1", "profile": "srv01", "domains": ["d1", "d2"]}
FILE = "/etc/sysconfig/rhn/up2date"
SETTINGS = """\
# Automatically generated Red Hat Update Agent config file, do not edit.
# Format: 1.0
versionOverride[comment]=Override the automatically determined system version
versionOverride=

enableProxyAuth[comment]=To use an authenticated proxy or not
enableProxyAuth=0

networkRetries[comment]=Number of attempts to make at network connections before giving up
networkRetries=5

hostedWhitelist[comment]=None
hostedWhitelist=

enableProxy[comment]=Use a HTTP Proxy
enableProxy=0

serverURL[comment]=Remote server URL
serverURL=%s

proxyPassword[comment]=The password to use for an authenticated proxy
proxyPassword=

noSSLServerURL[comment]=None
noSSLServerURL=%s

proxyUser[comment]=The username for an authenticated proxy
proxyUser=

disallowConfChanges[comment]=Config options that can not be overwritten by a config update action
disallowConfChanges=noReboot;sslCACert;useNoSSLForPackages;noSSLServerURL;serverURL;disallowConfChanges;

sslCACert[comment]=The CA cert used to verify the ssl server
sslCACert=/usr/share/rhn/RHN-ORG-TRUSTED-SSL-CERT

debug[comment]=Whether or not debugging is enabled
debug=0

httpProxy[comment]=HTTP proxy in host:port format, e.g. squid.redhat.com:3128
httpProxy=

systemIdPath[comment]=Location of system id
systemIdPath=/etc/sysconfig/rhn/systemid

noReboot[comment]=Disable the reboot action
noReboot=0
"""


def program(guest: Guest, status: int = 0) -> Path:
    script = guest.file("/usr/sbin/rhnreg_ks", mode=0o755)
    script.write_text(f'#!/bin/sh\necho "$@" >> {guest.root}/said\necho "$3 KEY-1" >&2\nexit {status}\n')
    return guest.root / "said"


@pytest.mark.parametrize(
    ("domains", "https", "http"),
    [
        (
            ("proxy1.example.com", "proxy2.example.com"),
            "https://proxy1.example.com/XMLRPC;https://proxy2.example.com/XMLRPC;",
            "http://proxy1.example.com/XMLRPC;http://proxy2.example.com/XMLRPC;",
        ),
        (("one.example.com",), "https://one.example.com/XMLRPC;", "http://one.example.com/XMLRPC;"),
        ((), ";", ";"),
    ],
)
def test_the_settings_are_as_recorded(domains: tuple[str, ...], https: str, http: str) -> None:
    assert up2date(domains) == SETTINGS % (https, http)


def test_it_registers_as_recorded(guest: Guest) -> None:
    guest.file("/etc/redhat-release", RED_HAT)
    guest.file(FILE, "old\n")
    guest.file("/etc/sysconfig/rhn/systemid", "old\n")
    said = program(guest)
    assert guest.call("kmsactivate", VALUE) == ("0", "")
    assert said.read_text() == "--activationkey KEY-1 --profile srv01 --force\n"
    folder = guest.root / "etc/sysconfig/rhn"
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "up2date"
    assert names[1].startswith("up2date.")
    assert names[1].endswith(".bak~")
    assert len(names) == 2, "systemid is gone"
    assert (folder / names[1]).read_text() == "old\n"
    assert (folder / "up2date").read_text() == SETTINGS % (
        "https://d1/XMLRPC;https://d2/XMLRPC;",
        "http://d1/XMLRPC;http://d2/XMLRPC;",
    )


def test_at_most_five_backups_are_kept(guest: Guest) -> None:
    guest.file("/etc/redhat-release", RED_HAT)
    program(guest)
    for _ in range(8):
        assert guest.call("kmsactivate", VALUE) == ("0", "")
    assert len(list((guest.root / "etc/sysconfig/rhn").glob("up2date.*.bak~"))) == 5


def test_a_failure_is_told_with_the_exit_status(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    guest.file("/etc/redhat-release", RED_HAT)
    program(guest, 3)
    code, message = guest.call("kmsactivate", {**VALUE, "domains": "d1"})
    assert (code, message) == ("500", "Couldn't activate with RHN: 3")
    assert "KEY-1" not in caplog.text
    assert "serverURL=https://d1/XMLRPC;\n" in (guest.root / FILE[1:]).read_text()


def test_a_missing_program_is_told_as_recorded(guest: Guest) -> None:
    guest.file("/etc/redhat-release", RED_HAT)
    assert guest.call("kmsactivate", VALUE) == ("500", "[Errno 2] No such file or directory")
    assert (guest.root / FILE[1:]).exists()


@pytest.mark.parametrize(
    ("files", "is_red_hat"),
    [
        ({}, False),
        ({"redhat-release": "CentOS release 6.4 (Final)\n"}, False),
        ({"redhat-release": "Fedora release 40\n", "os-release": "ID=fedora\n"}, False),
        ({"os-release": 'NAME="Debian"\nID=debian\n'}, False),
        ({"os-release": 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'}, False),
        ({"os-release": 'NAME="RHEL"\nID="rhel"\n'}, True),
        ({"redhat-release": "Red Hat Enterprise Linux release 9.4 (Plow)\n"}, True),
    ],
)
def test_it_is_for_red_hat_only(guest: Guest, files: dict[str, str], is_red_hat: bool) -> None:
    for name, content in files.items():
        guest.file(f"/etc/{name}", content)
    before = guest.tree()
    answer = guest.call("kmsactivate", VALUE)
    if is_red_hat:
        assert answer == ("500", "[Errno 2] No such file or directory")
    else:
        assert answer == ("500", "KMS not supported on this OS")
        assert guest.tree() == before


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"profile": "srv01", "domains": ["d1"]}, "'activation_key'"),
        ({"activation_key": "K", "domains": ["d1"]}, "'profile'"),
        ({"activation_key": "K", "profile": "p"}, "'domains'"),
        ({}, "'activation_key'"),
        ("abc", "string indices must be integers"),
        ("x" * 2**20, "string indices must be integers"),
        (None, "Invalid arguments"),
        (5, "Invalid arguments"),
        ([], "Invalid arguments"),
        ({**VALUE, "activation_key": 5}, "activation_key has to be a text of one line"),
        ({**VALUE, "activation_key": ""}, "activation_key has to be a text of one line"),
        ({**VALUE, "activation_key": "secret\0key"}, "activation_key has to be a text of one line"),
        ({**VALUE, "activation_key": "\ud800"}, "activation_key has to be a text of one line"),
        ({**VALUE, "activation_key": "k" * 2**20}, "activation_key is longer than 4096 characters"),
        ({**VALUE, "profile": "p" * 2**20}, "profile is longer than 4096 characters"),
        ({**VALUE, "domains": ["d" * 2**20]}, "domains has to be a host name, or a list of host names"),
        ({**VALUE, "profile": "a\nb"}, "profile has to be a text of one line"),
        ({**VALUE, "domains": "d1\ndebug=1"}, "domains has to be a host name, or a list of host names"),
        ({**VALUE, "domains": ["d1;d2"]}, "domains has to be a host name, or a list of host names"),
        ({**VALUE, "domains": [5]}, "domains has to be a host name, or a list of host names"),
        ({**VALUE, "domains": {}}, "domains has to be a host name, or a list of host names"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(guest: Guest, value: object, text: str) -> None:
    guest.file("/etc/redhat-release", RED_HAT)
    said = program(guest)
    before = guest.tree()
    assert guest.call("kmsactivate", value) == ("500", text)
    assert guest.tree() == before
    assert not said.exists()

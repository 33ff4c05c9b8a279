"""agentupdate: which requests and archives are refused, with which words, and that nothing is changed then."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable

import pytest

from guestagent_core import Context

from .conftest import Guest
from .updates import INSTALLER, URL, leftovers, log_of, with_installer


def test_the_digest_is_checked_to_the_letter(updatable: Guest) -> None:
    digest = with_installer(updatable)
    wrong = digest.upper()
    text = f"MD5 sums do not match ({wrong} != {digest})"
    assert updatable.call("agentupdate", f"{URL},{wrong}") == ("500", text)
    assert updatable.call("agentupdate", f"{URL},") == ("500", f"MD5 sums do not match ( != {digest})")
    assert updatable.call("agentupdate", f"{URL}, {digest}")[0] == "500"
    assert not (updatable.root / "log").exists()
    assert leftovers(updatable) == []


def test_sha256_is_known_by_its_length(updatable: Guest) -> None:
    with_installer(updatable)
    digest = hashlib.sha256((updatable.root / "srv/nova-agent-1.40.tar.gz").read_bytes()).hexdigest()
    wrong = "0" * 64
    text = f"SHA256 sums do not match ({wrong} != {digest})"
    assert updatable.call("agentupdate", f"{URL},{wrong}") == ("500", text)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert len(log_of(updatable, 2)) == 2


def test_the_configuration_can_insist_on_more(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(enabled=True, require_sha256=True, require_https=True)
    digest = with_installer(guest)
    code, message = guest.call("agentupdate", f"{URL},{digest}")
    assert (code, message) == ("500", "The configuration insists on a SHA-256 digest (require_sha256)")
    code, message = guest.call("agentupdate", f"http://127.0.0.1:9/a.tar,{'0' * 64}")
    assert (code, message) == ("500", "The configuration insists on https (require_https)")
    assert not (guest.root / "log").exists()


def test_what_is_not_there_is_told_as_recorded(updatable: Guest) -> None:
    text = "[Errno 2] No such file or directory: '/srv/nova-agent-1.40.tar.gz'"
    assert updatable.call("agentupdate", f"{URL},{'0' * 32}") == ("500", text)


def test_what_is_no_archive_is_told_as_recorded(updatable: Guest) -> None:
    updatable.file("/srv/nova-agent-1.40.tar.gz", "rubbish")
    digest = hashlib.md5(b"rubbish").hexdigest()
    text = f"nova-agent-1-{os.getpid()}.40.tar.gz: file could not be opened successfully"
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("500", text)
    assert leftovers(updatable) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "Invalid arguments"),
        (5, "Invalid arguments"),
        ([], "Invalid arguments"),
        (True, "Invalid arguments"),
        ("", "need more than 1 value to unpack"),
        ("http://host/agent.tar", "need more than 1 value to unpack"),
        ("x" * 2**20, "need more than 1 value to unpack"),
        ({}, "Missing URL or MD5 sum in dictionary arguments"),
        ({"url": URL}, "Missing URL or MD5 sum in dictionary arguments"),
        ({"md5sum": ""}, "Missing URL or MD5 sum in dictionary arguments"),
        ({"url": 5, "md5sum": ""}, "Invalid arguments"),
        ({"url": URL, "md5sum": None}, "Invalid arguments"),
        ("agent.tar,0", "Invalid URL"),
        ("http://host/agent,0", "Invalid URL"),
        ("file:///srv/a\nb.tar,0", "Invalid URL"),
        ("file:///srv/a\0b.tar,0", "Invalid URL"),
        ("http://[host/agent.tar,0", "Invalid URL"),
        ("http://user:SECRET@127.0.0.1/agent.tar,0", "Invalid URL"),
        ("http://host..example/agent.tar,0", "Invalid URL"),
        ("http://127.0.0.1:9/\xe9.tar,0", "Invalid URL"),
        ("file:///srv/a%00b.tar,0", "Invalid URL"),
        ("ftp://host/agent.tar,0", "Only http, https and file URLs are accepted"),
        ("data:text/x.tar,0", "Only http, https and file URLs are accepted"),
        ("/srv/x.tar,0", "Only http, https and file URLs are accepted"),
        ("file:///etc/x.d,0", "[Errno 22] Not a file: '/etc/x.d'"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(updatable: Guest, value: object, text: str) -> None:
    (updatable.root / "etc/x.d").mkdir()
    before = updatable.tree()
    assert updatable.call("agentupdate", value) == ("500", text)
    assert updatable.tree() == before
    assert leftovers(updatable) == []


def test_an_archive_that_is_late_has_the_code_of_what_is_late(
    updatable: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    updatable.file("/srv/late.tar", "late")
    monkeypatch.setattr(Context, "deadline", property(lambda context: time.monotonic() - 1))
    assert updatable.call("agentupdate", "file:///srv/late.tar,0") == ("504", "The archive did not arrive in time")
    assert leftovers(updatable) == []


def test_an_archive_that_leads_out_is_refused_before_anything_is_unpacked(updatable: Guest) -> None:
    source = updatable.state.parent / "source"
    source.mkdir()
    (source / "installer.sh").write_text(INSTALLER % (updatable.root / "log"))
    (source / "installer.sh").chmod(0o755)
    target = updatable.file("/srv/evil.tar")
    command = ["tar", "-cf", str(target), "--transform", "s,^out,../../out,", "installer.sh", "out"]
    (source / "out").write_text("x")
    subprocess.run(command, cwd=source, check=True)
    digest = hashlib.md5(target.read_bytes()).hexdigest()
    code, message = updatable.call("agentupdate", f"file:///srv/evil.tar,{digest}")
    assert (code, message) == ("500", "The archive is refused: '../../out': it lies outside")
    assert not (updatable.root / "log").exists()
    assert leftovers(updatable) == []

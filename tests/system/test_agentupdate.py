"""agentupdate with archives that bring an installer: as recorded of the original agent, and safer."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from guestagent_commands_system.options import UpdateOptions
from guestagent_core import Context

from .conftest import Guest

PATIENCE = 30.0  # seconds
INSTALLER = '#!/bin/sh\necho "installer $PWD $# $(env | grep -v -E "^(PATH|LC_ALL|PWD|SHLVL|_)=")" >> "%s"\n'


@pytest.fixture
def updatable(new_guest: Callable[..., Guest]) -> Guest:
    guest = new_guest(enabled=True, size_limit=1_000_000)
    guest.file("/etc/init.d/nova-agent", f'echo "restart $1" >> {guest.root}/log\n')
    return guest


def archive(
    guest: Guest, files: dict[str, tuple[str, int]], *names: str, to: str = "/srv/nova-agent-1.40.tar.gz"
) -> str:
    """Makes an archive with the real tar, at ``to``; returns its MD5 digest."""
    source = guest.state.parent / "source"
    for name, (content, mode) in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content)
        (source / name).chmod(mode)
    target = guest.file(to)
    subprocess.run(["tar", "-czf", target, *(names or files)], cwd=source, check=True)
    return hashlib.md5(target.read_bytes()).hexdigest()


def with_installer(guest: Guest, more: str = "", name: str = "installer.sh", mode: int = 0o755) -> str:
    return archive(guest, {name: (INSTALLER % (guest.root / "log") + more, mode)})


def log_of(guest: Guest, lines: int) -> list[str]:
    """Waits for what is written by programs that outlive the call."""
    end = time.monotonic() + PATIENCE
    log = guest.root / "log"
    while time.monotonic() < end:
        if log.exists() and len(log.read_text().splitlines()) >= lines:
            break
        time.sleep(0.02)
    return log.read_text().splitlines() if log.exists() else []


def leftovers(guest: Guest) -> list[str]:
    share = guest.root / "usr/share"
    folder = guest.state / "agentupdate"
    return [
        *(path.name for path in (share.iterdir() if share.exists() else ())),
        *(path.name for path in (folder.iterdir() if folder.exists() else ())),
    ]


URL = "file:///srv/nova-agent-1.40.tar.gz"


def test_it_is_off_until_the_configuration_turns_it_on(guest: Guest, new_guest: Callable[..., Guest]) -> None:
    assert guest.call("agentupdate", f"{URL},0") == ("404", "No such agent command 'agentupdate'")
    assert "agentupdate" not in guest.registry.specs
    assert "agentupdate" in Guest(guest.root, guest.state, UpdateOptions(enabled=True)).registry.specs
    assert "agentupdate" not in Guest(guest.root, guest.state, UpdateOptions(enabled=False)).registry.specs


@pytest.mark.parametrize("name", ["installer.sh", "nova-agent/installer.sh"])
@pytest.mark.parametrize("form", ["text", "object"])
def test_the_installer_runs_and_the_agent_restarts(updatable: Guest, name: str, form: str) -> None:
    digest = with_installer(updatable, name=name)
    value = f"{URL},{digest}" if form == "text" else {"url": URL, "md5sum": digest}
    assert updatable.call("agentupdate", value) == ("0", "")
    assert log_of(updatable, 2) == ["installer / 0 ", "restart restart"]
    assert leftovers(updatable) == []


def test_the_installer_is_found_below_a_dot(updatable: Guest) -> None:
    archive(updatable, {"installer.sh": (INSTALLER % (updatable.root / "log"), 0o755)})
    digest = archive(updatable, {}, "./installer.sh")
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert log_of(updatable, 2) == ["installer / 0 ", "restart restart"]


def test_an_installer_two_folders_down_is_left_to_the_start_script(updatable: Guest) -> None:
    digest = with_installer(updatable, name="a/b/installer.sh")
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert log_of(updatable, 1) == ["restart restart"]
    left = updatable.root / "var/run/nova-agent.tar.gz"
    assert hashlib.md5(left.read_bytes()).hexdigest() == digest
    assert leftovers(updatable) == []


def test_a_failing_installer_is_told_as_recorded(updatable: Guest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    digest = with_installer(updatable, "echo it is like this\necho and like that >&2\nexit 7\n")
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("500", "Agent installer script failed: 7")
    assert "installer: it is like this" in caplog.text
    assert "installer: and like that" in caplog.text
    time.sleep(0.3)
    assert log_of(updatable, 1) == ["installer / 0 "], "and the agent does not restart"
    assert leftovers(updatable) == []


def test_an_installer_that_may_not_be_run_is_told_as_recorded(updatable: Guest) -> None:
    digest = with_installer(updatable, mode=0o644)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("500", "[Errno 13] Permission denied")
    assert leftovers(updatable) == []


def test_without_a_start_script_it_is_404_as_recorded(updatable: Guest) -> None:
    (updatable.root / "etc/init.d/nova-agent").unlink()
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("404", "No init script found to restart")
    assert log_of(updatable, 1) == ["installer / 0 "]
    assert leftovers(updatable) == []


@pytest.mark.parametrize("script", ["/etc/init.d/guestagent", "/etc/rc.d/nova-agent", "/etc/nova-agent.init"])
def test_each_kind_of_start_script_is_found(updatable: Guest, script: str) -> None:
    (updatable.root / "etc/init.d/nova-agent").unlink()
    updatable.file(script, f'echo "$0 $1" >> {updatable.root}/log\n')
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert log_of(updatable, 2)[1] == f"{updatable.root}{script} restart"


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


def test_what_a_crash_has_left_goes_with_the_next_update(updatable: Guest) -> None:
    for path in (
        "/usr/share/nova-agent.12345/installer.sh",
        "/usr/share/nova-agent.old/mine",
        "/usr/share/nova-agent/1",
    ):
        updatable.file(path, "x")
    folder = updatable.state / "agentupdate"
    (folder / "unpacked").mkdir(parents=True)
    (folder / "agent-77.tar").write_text("half")
    (folder / "agent-77.log").write_text("half, of an archive that is named like that")
    (folder / "outcome.log").write_text("kept\n")
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{URL},{digest}") == ("0", "")
    assert sorted(leftovers(updatable)) == ["nova-agent", "nova-agent.old", "outcome.log"]


# Over the network


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


@pytest.fixture
def served(updatable: Guest) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/to-file.tar":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
            elif self.path == "/to-ftp.tar":
                self.send_response(302)
                self.send_header("Location", "ftp://127.0.0.1/x.tar")
                self.end_headers()
            elif self.path == "/moved.tar":
                self.send_response(302)
                self.send_header("Location", "/nova-agent-1.40.tar.gz")
                self.end_headers()
            elif self.path == "/endless.tar":
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"x" * 65536)
            elif self.path == "/short.tar":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x")
            elif self.path == "/rubbish.tar":
                self.wfile.write(b"rubbish\r\n\r\n")
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

    (updatable.root / "srv").mkdir()
    with Server(("127.0.0.1", 0), partial(Handler, directory=str(updatable.root / "srv"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_archives_come_over_http(updatable: Guest, served: str) -> None:
    digest = with_installer(updatable)
    assert updatable.call("agentupdate", f"{served}/nova-agent-1.40.tar.gz,{digest}") == ("0", "")
    assert updatable.call("agentupdate", f"{served}/moved.tar,{digest}") == ("0", "")
    assert len(log_of(updatable, 4)) == 4


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("no-such.tar", "HTTP Error 404: "),
        ("to-file.tar", "HTTP Error 302: "),
        ("to-ftp.tar", "<urlopen error unknown url type: ftp>"),
        ("endless.tar", "The archive is larger than 1000000 bytes (size_limit)"),
        ("short.tar", "MD5 sums do not match (" + "0" * 32),
        ("rubbish.tar", "rubbish"),
    ],
)
def test_what_goes_wrong_on_the_way_is_told(updatable: Guest, served: str, path: str, text: str) -> None:
    code, message = updatable.call("agentupdate", f"{served}/{path},{'0' * 32}")
    assert code == "500"
    assert message.startswith(text)
    assert leftovers(updatable) == []


def test_a_server_that_is_not_there_is_told(updatable: Guest) -> None:
    code, message = updatable.call("agentupdate", f"http://127.0.0.1:9/agent.tar,{'0' * 32}")
    assert (code, message) == ("500", "<urlopen error [Errno 111] Connection refused>")


def test_a_certificate_that_nobody_vouches_for_is_refused(updatable: Guest, tmp_path: Path) -> None:
    import ssl

    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    made += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run(made, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with Server(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"https://127.0.0.1:{server.server_address[1]}/agent.tar"
        code, message = updatable.call("agentupdate", f"{url},{'0' * 32}")
        server.shutdown()
        thread.join()
    assert code == "500"
    assert "CERTIFICATE_VERIFY_FAILED" in message


def test_the_download_is_for_nobody_else_to_read(updatable: Guest, served: str) -> None:
    look = (
        f'stat -c "%a" {updatable.state}/agentupdate {updatable.root}/usr/share/nova-agent.* >> {updatable.root}/log\n'
    )
    digest = with_installer(updatable, look)
    assert updatable.call("agentupdate", f"{served}/nova-agent-1.40.tar.gz,{digest}") == ("0", "")
    assert log_of(updatable, 4)[1:3] == ["700", "700"]


def test_the_service_manager_is_chosen_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the root itself; which files are there, is said, and programs are only noted."""
    from subprocess import CompletedProcess

    from guestagent_commands_system.restart import restart_command

    class Machine(Context):
        there: tuple[str, ...] = ()
        cgroup = ""

        def path(self, guest_path: object, *, follow: bool = True) -> Path:
            path = Path(f"{tmp_path}{guest_path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        def run(self, argv: object, **more: object) -> CompletedProcess[bytes]:
            assert isinstance(argv, list)
            assert argv[:3] == ["systemctl", "cat", "--"]
            return CompletedProcess(argv, 0 if argv[3] == "mine.service" else 1, b"", b"")

    machine = Machine()
    assert machine.root == Path("/")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/mine.service\n")
    assert restart_command(machine, ["guestagent"]) == ["systemctl", "restart", "--", "mine.service"]
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice/user-0.slice/session-1.scope\n")
    assert restart_command(machine, ["other", "mine"]) == ["systemctl", "restart", "--", "mine.service"]
    (tmp_path / "run/systemd/system").rmdir()
    script = tmp_path / "etc/init.d/guestagent"
    script.parent.mkdir(parents=True)
    script.touch()
    assert restart_command(machine, ["guestagent"]) == ["sh", str(script), "restart"]
    (tmp_path / "run/openrc").mkdir()
    assert restart_command(machine, ["guestagent"]) == ["rc-service", "guestagent", "restart"]

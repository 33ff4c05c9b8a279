"""agentupdate over the network: what servers may do, and what they may not."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from guestagent_commands_system.downloads import Source, fetch
from guestagent_commands_system.options import UpdateOptions
from guestagent_core import CommandTimeoutError, Context

from .conftest import Guest
from .updates import leftovers, log_of, with_installer


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
            elif self.path == "/slow.tar":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            elif self.path == "/kept-open.tar":
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"tidy")
                self.rfile.read()
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


class OneSecond:
    """Stands for the context of a call that has a second left."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + 1.0


def test_a_server_that_sends_byte_by_byte_holds_nobody_beyond_the_deadline(served: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(CommandTimeoutError, match="The archive did not arrive in time"):
        fetch(cast("Context", OneSecond()), Source(f"{served}/slow.tar", "0" * 32), tmp_path / "a", UpdateOptions())
    assert time.monotonic() - began < 20, "and not the 50 s that the whole of it would take"
    assert not (tmp_path / "a").exists()


def test_a_server_that_does_not_hang_up_is_not_waited_for(served: str, tmp_path: Path) -> None:
    digest = hashlib.md5(b"tidy").hexdigest()
    fetch(cast("Context", OneSecond()), Source(f"{served}/kept-open.tar", digest), tmp_path / "a", UpdateOptions())
    assert (tmp_path / "a").read_bytes() == b"tidy"


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

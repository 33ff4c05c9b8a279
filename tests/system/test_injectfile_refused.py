"""injectfile and file_inject: what is refused, with which words, and that nothing is changed then."""

from __future__ import annotations

import base64
import os
import socket
import stat

import pytest

from .conftest import Guest

NO_SUCH = "[Errno 2] No such file or directory: ''"


@pytest.mark.parametrize("value", ["cmVsYXRpdmUudHh0LHg=", "LHg="])
def test_a_path_that_is_relative_or_empty_is_refused_as_recorded(guest: Guest, value: str) -> None:
    assert guest.call("injectfile", value) == ("500", NO_SUCH)
    assert guest.tree() == {"/etc": ("40755", "")}


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/", "/etc/.", "/etc/..", "/.", "//", "/etc/new/"])
def test_a_folder_is_not_replaced(guest: Guest, path: str) -> None:
    before = guest.tree()
    code, message = guest.inject(path)
    assert code == "500"
    assert "Is a directory" in message
    assert path in message
    assert guest.tree() == before


def test_a_device_a_queue_and_a_socket_are_not_replaced(guest: Guest) -> None:
    os.mkfifo(guest.root / "etc/queue")
    before = os.getcwd()
    os.chdir(guest.root / "etc")  # the path of a socket has to be short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(before)
    names = ["queue", "socket"]
    if os.geteuid() == 0:
        try:
            os.mknod(guest.root / "etc/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            names.append("null")
        except PermissionError:  # a container may not
            pass
    for name in names:
        code, message = guest.inject(f"/etc/{name}")
        assert code == "500"
        assert message == f"[Errno 22] Neither a file nor a link to one: '/etc/{name}'"
    assert sorted(os.listdir(guest.root / "etc")) == sorted(names)


def test_a_file_on_the_way_is_an_error(guest: Guest) -> None:
    guest.file("/etc/file", "x")
    before = guest.tree()
    assert guest.inject("/etc/file/below/it") == ("500", "[Errno 20] Not a directory: '/etc/file/below/it'")
    assert guest.tree() == before


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2100 + "x", "x/" * 100_000 + "x"])
def test_a_name_that_is_too_long_leaves_nothing(guest: Guest, name: str) -> None:
    code, message = guest.inject(f"/etc/new/{name}")
    assert code == "500"
    assert "File name too long" in message
    assert guest.tree() == {"/etc": ("40755", "")}, "folders made on the way are removed again"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "Error doing base64 decoding of data"),
        (None, "Error doing base64 decoding of data"),
        ([], "Error doing base64 decoding of data"),
        ({}, "Error doing base64 decoding of data"),
        ("L2V0Yy9tb3RkMixoZWxsbwo", "Error doing base64 decoding of data"),
        ("L2V0!Yy9tb3RkMixoZWxsbwo=", "Error doing base64 decoding of data"),
        ("é" * 4, "Error doing base64 decoding of data"),
        ("\0", "Error doing base64 decoding of data"),
        ("x" * (2**20 + 1), "Error doing base64 decoding of data"),
        ("", "need more than 1 value to unpack"),
        (base64.b64encode(b"/etc/motd").decode(), "need more than 1 value to unpack"),
        (base64.b64encode(b"/" * 2**20).decode(), "need more than 1 value to unpack"),
        (base64.b64encode(b"/etc/a\0b,x").decode(), "The path holds a NUL byte"),
        (base64.b64encode(b"\n/etc/a,x").decode(), NO_SUCH),
    ],
)
def test_bad_input_is_told_and_changes_nothing(guest: Guest, value: object, text: str) -> None:
    assert guest.call("injectfile", value) == ("500", text)
    assert guest.tree() == {"/etc": ("40755", "")}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "Invalid arguments"),
        (None, "Invalid arguments"),
        ([], "Invalid arguments"),
        ("L2V0Yy9tb3RkLGhlbGxv", "Invalid arguments"),
        ("x" * 2**20, "Invalid arguments"),
        ({}, "Missing b64_path or b64_file in dictionary arguments"),
        ({"b64_path": "L2V0Yy9tb3Rk"}, "Missing b64_path or b64_file in dictionary arguments"),
        ({"b64_path": 5, "b64_file": ""}, "Error doing base64 decoding of data"),
        ({"b64_path": "L2V0Yy9tb3Rk", "b64_file": "*"}, "Error doing base64 decoding of data"),
        ({"b64_path": "", "b64_file": ""}, NO_SUCH),
    ],
)
def test_bad_input_of_the_other_form_too(guest: Guest, value: object, text: str) -> None:
    assert guest.call("file_inject", value) == ("500", text)
    assert guest.tree() == {"/etc": ("40755", "")}

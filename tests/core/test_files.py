"""A folder read as a store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from guestagent_core.files import FilesStore
from guestagent_core.options import read_options
from guestagent_core.testing import StoreContract


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the store that nobody should see through it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"hunter2")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    (folder / "vm-data" / "networking").mkdir(parents=True)
    (folder / "vm-data" / "hostname").write_bytes(b"alpha\n\xff")
    (folder / "vm-data" / ".hostname.part").write_bytes(b"alp")
    return folder


@pytest.fixture
def store(folder: Path) -> FilesStore:
    return FilesStore(FilesStore.Options(folder))


class TestContract(StoreContract):
    entry_point = "files"

    @pytest.fixture
    def store(self, tmp_path: Path) -> FilesStore:
        return FilesStore(FilesStore.Options(tmp_path / "published"))

    @pytest.fixture
    def publish(self, tmp_path: Path) -> Callable[[str, bytes], None]:
        def publish(path: str, value: bytes) -> None:
            file = tmp_path / "published" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(value)

        return publish


def test_its_default_folder_is_in_the_agents_own(tmp_path: Path) -> None:
    options = read_options(FilesStore.Options, {}, "here", {"state_dir": tmp_path})
    assert options.path == tmp_path / "store"


@pytest.mark.parametrize("path", ["vm-data/hostname", "/vm-data/hostname", "vm-data//./hostname", "vm-data/hostname/"])
def test_a_value_is_the_whole_content_of_a_file(store: FilesStore, path: str) -> None:
    assert store.read(path) == b"alpha\n\xff"


@pytest.mark.parametrize("path", ["none", "vm-data/none", "none/at/all", "vm-data/hostname/deeper"])
def test_what_does_not_exist_has_neither_value_nor_names(store: FilesStore, path: str) -> None:
    assert store.read(path) is None
    assert store.list(path) == []


@pytest.mark.parametrize("path", ["vm-data", "vm-data/networking", "", "/"])
def test_a_folder_has_an_empty_value(store: FilesStore, path: str) -> None:
    assert store.read(path) == b""


def test_a_folder_lists_its_names_in_order_without_those_that_are_being_written(
    folder: Path, store: FilesStore
) -> None:
    for name in ("10", "9", "B", "a"):
        (folder / "vm-data" / name).touch()
    assert store.list("vm-data") == ["10", "9", "B", "a", "hostname", "networking"]
    assert store.list("") == store.list("/") == ["vm-data"]
    assert store.list("vm-data/networking") == []


def test_a_file_has_no_names(store: FilesStore) -> None:
    assert store.list("vm-data/hostname") == []


def test_a_store_without_a_folder_is_empty(tmp_path: Path) -> None:
    store = FilesStore(FilesStore.Options(tmp_path / "none"))
    assert store.read("vm-data") is None
    assert store.list("") == []


def test_what_is_written_later_is_seen(folder: Path, store: FilesStore) -> None:
    assert store.read("later") is None
    (folder / "later").write_bytes(b"1")
    assert store.read("later") == b"1"


def test_dots_do_not_lead_out(outside: Path, store: FilesStore) -> None:
    for path in ("../outside/secret", "/../outside/secret", "vm-data/../../outside/secret", str(outside / "secret")):
        assert store.read(path) is None
    assert store.list("../outside") == []
    assert store.list("..") == ["vm-data"]


def test_links_do_not_lead_out(outside: Path, folder: Path, store: FilesStore) -> None:
    (folder / "file").symlink_to(outside / "secret")
    (folder / "folder").symlink_to(outside)
    (folder / "upwards").symlink_to("../outside")
    for path in ("file", "folder", "folder/secret", "upwards", "upwards/secret"):
        assert store.read(path) is None
        assert store.list(path) == []


def test_links_inside_are_followed(folder: Path, store: FilesStore) -> None:
    (folder / "name").symlink_to("/vm-data/hostname")
    (folder / "data").symlink_to("vm-data")
    assert store.read("name") == store.read("data/hostname") == b"alpha\n\xff"
    assert store.list("data") == ["hostname", "networking"]


def test_a_link_to_itself_is_an_error(folder: Path, store: FilesStore) -> None:
    (folder / "loop").symlink_to("loop")
    for ask in (store.read, store.list):
        with pytest.raises(OSError, match="loop") as caught:
            ask("loop")
        assert caught.value.errno == errno.ELOOP


def test_what_is_there_and_cannot_be_read_is_an_error(store: FilesStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)  # root may read everything, so the mode of a file would not do
    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(PermissionError):
        store.read("vm-data/hostname")
    with pytest.raises(PermissionError):
        store.list("vm-data")

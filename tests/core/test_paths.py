"""Paths below another root: what :func:`resolve` says is what a chroot says."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent_core.paths import resolve

# A folder is a dict, a link its target in a tuple, a file None.
Tree = dict[str, Any]
NAMES = st.sampled_from(("a", "b", "c"))
STEPS = st.lists(st.one_of(NAMES, st.sampled_from(("..", ".", "a", "b"))), min_size=1, max_size=6)
PATHS = st.builds(lambda start, steps: start + "/".join(steps), st.sampled_from(("", "/", "//")), STEPS)
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, st.one_of(st.none(), PATHS.map(lambda target: (target,))), max_size=3),
    lambda folders: st.dictionaries(
        NAMES, st.one_of(folders, folders, PATHS.map(lambda target: (target,))), max_size=3
    ),
    max_leaves=8,
)


def build(folder: Path, tree: Tree) -> None:
    """Makes ``tree`` in ``folder``; never writes through a link, for a link of the tree may lead anywhere."""
    for name, node in tree.items():
        if node is None:
            (folder / name).write_text(name)
        elif isinstance(node, tuple):
            (folder / name).symlink_to(node[0])
        else:
            (folder / name).mkdir()
            build(folder / name, node)


class Chroot:
    """Asks the kernel, in a process that enters the root for each question and leaves it again."""

    SCRIPT = """if True:
        import json, os, sys
        outside = os.open("/", os.O_RDONLY)
        for line in sys.stdin:
            root, path, follow = json.loads(line)
            os.chroot(root)
            os.chdir("/")
            try:
                found = os.stat(path, follow_symlinks=follow)
                answer = [found.st_dev, found.st_ino]
            except OSError as error:
                answer = error.errno
            os.fchdir(outside)
            os.chroot(".")
            print(json.dumps(answer), flush=True)
        """

    def __init__(self) -> None:
        # Without `site`: nothing there, such as a measurement of coverage, has any business in a chroot.
        command = [sys.executable, "-I", "-S", "-c", self.SCRIPT]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, root: Path, tree: Tree, path: str, follow: bool) -> int | tuple[int, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(root), path, follow]), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        return answer if isinstance(answer, int) else (answer[0], answer[1])

    def close(self) -> None:
        self._process.communicate(timeout=30)


class Model:
    """Walks the tree as it was described, without the file system; for those who are not root."""

    def ask(self, root: Path, tree: Tree, path: str, follow: bool) -> int | tuple[int, int]:
        self._links = 0
        try:
            names = self._walk(tree, (), path.split("/"), follow)
        except OSError as error:
            return error.errno or 0
        found = root.joinpath(*names).lstat()
        return found.st_dev, found.st_ino

    def _walk(self, tree: Tree, at: tuple[str, ...], steps: list[str], follow: bool) -> tuple[str, ...]:
        if steps[0] == "":
            at = ()
        for number, step in enumerate(steps):
            node: Any = tree
            for name in at:
                node = node[name]
            if not isinstance(node, dict):
                raise OSError(errno.ENOTDIR, "")
            if step in ("", "."):
                continue
            if step == "..":
                at = at[:-1]
                continue
            if step not in node:
                raise OSError(errno.ENOENT, "")
            entry = node[step]
            if isinstance(entry, tuple) and (follow or number < len(steps) - 1):
                self._links += 1
                if self._links > 40:
                    raise OSError(errno.ELOOP, "")
                at = self._walk(tree, at, entry[0].split("/"), True)
            else:
                at = (*at, step)
        return at

    def close(self) -> None:
        """There is nothing to close."""


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot")


@pytest.fixture(scope="module", params=[pytest.param(Chroot, marks=[pytest.mark.real, needs_root]), Model])
def oracle(request: pytest.FixtureRequest) -> Iterator[Chroot | Model]:
    asked: Chroot | Model = request.param()
    yield asked
    asked.close()


@contextmanager
def built(factory: pytest.TempPathFactory, tree: Tree) -> Iterator[Path]:
    root = factory.mktemp("root")
    build(root, tree)
    yield root


@settings(max_examples=150, deadline=None)
@given(tree=TREES, paths=st.lists(PATHS, min_size=1, max_size=8), follow=st.booleans())
def test_a_path_leads_where_it_leads_in_a_chroot(
    tmp_path_factory: pytest.TempPathFactory, oracle: Chroot | Model, tree: Tree, paths: list[str], follow: bool
) -> None:
    with built(tmp_path_factory, tree) as root:
        for path in paths:
            expected = oracle.ask(root, tree, path, follow)
            try:
                found = resolve(root, path, follow=follow)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                # For the kernel, `missing/../loop` fails before it comes to the loop.
                assert expected in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR)
                continue
            assert expected != errno.ELOOP
            assert found.is_relative_to(root)
            assert ".." not in found.parts
            if isinstance(expected, tuple):
                there = os.lstat(found)
                assert (there.st_dev, there.st_ino) == expected


@settings(max_examples=100, deadline=None)
@given(tree=TREES, path=PATHS)
def test_a_path_never_leaves_the_root(tmp_path_factory: pytest.TempPathFactory, tree: Tree, path: str) -> None:
    with built(tmp_path_factory, tree) as root:
        try:
            found = resolve(root, path)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return
        # Nothing in it is a link any more, so the kernel goes nowhere else either.
        assert os.path.realpath(found) == str(found)
        assert found.is_relative_to(root)


ESCAPES: Mapping[str, str] = {
    "..": "../../../etc/motd",
    "absolute": "/etc/motd",
    "several slashes": "///etc//motd",
    "relative": "etc/motd",
    "an absolute link": "absolute/motd",
    "a link upwards": "upwards/etc/motd",
    "a link to a link": "twice/motd",
    "a link to the file": "file",
    ".. behind a link": "deep/absolute/../etc/motd",
}


@pytest.mark.parametrize("path", ESCAPES.values(), ids=ESCAPES.keys())
def test_what_would_lead_out_of_the_root_stays_inside(tmp_path: Path, path: str) -> None:
    tree: Tree = {
        "etc": {"motd": None},
        "absolute": ("/etc",),
        "upwards": ("../../../..",),
        "twice": ("/absolute",),
        "file": ("../../etc/motd",),
        "deep": {"absolute": ("/etc",)},
    }
    with_tree = tmp_path / "root"
    with_tree.mkdir()
    build(with_tree, tree)
    assert resolve(with_tree, path) == with_tree / "etc" / "motd"


def test_a_path_need_not_exist(tmp_path: Path) -> None:
    assert resolve(tmp_path, "/etc/./new/../other/file") == tmp_path / "etc/other/file"


def test_a_dangling_link_leads_to_where_its_target_would_be(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    assert resolve(tmp_path, "resolv.conf") == tmp_path / "run/systemd/resolve/stub-resolv.conf"


def test_the_root_itself_may_be_reached_through_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    (tmp_path / "real" / "file").write_text("x")
    assert resolve(tmp_path / "alias", "/file").read_text() == "x"


@pytest.mark.parametrize("path", ["", "/", ".", "..", "a/.."])
def test_the_root_is_the_root(tmp_path: Path, path: str) -> None:
    assert resolve(tmp_path, path) == tmp_path


def test_forty_links_are_followed_and_the_next_one_is_too_many(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("the end")
    for number in range(1, 42):
        (tmp_path / str(number)).symlink_to(str(number - 1))
    assert resolve(tmp_path, "40") == tmp_path / "0"
    assert (tmp_path / "40").read_text() == "the end"  # the kernel's limit is the same
    for follow_whom in (lambda: resolve(tmp_path, "41"), (tmp_path / "41").read_text):
        with pytest.raises(OSError, match="41") as caught:
            follow_whom()
        assert caught.value.errno == errno.ELOOP


def test_a_link_to_itself_is_an_endless_loop(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop") as caught:
        resolve(tmp_path, "loop/further")
    assert caught.value.errno == errno.ELOOP


def test_without_follow_only_a_link_in_the_last_place_is_left(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "lib").symlink_to("/usr")
    (tmp_path / "usr" / "link").symlink_to("/etc")
    assert resolve(tmp_path, "lib/link", follow=False) == tmp_path / "usr" / "link"
    assert resolve(tmp_path, "lib/link") == tmp_path / "etc"


@pytest.mark.parametrize("path", ["/etc/motd", "etc/motd", "//etc/motd", Path("/etc/motd")])
def test_below_the_real_root_a_path_is_the_path_itself(path: str | Path) -> None:
    assert resolve(Path("/"), path) == Path("/etc/motd")

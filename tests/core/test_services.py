"""`guestagent service`: images of each init system get the service, and lose it again."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from guestagent_core.cli import main
from guestagent_core.errors import ConfigError
from guestagent_core.services.detecting import INIT_SYSTEMS, detect
from guestagent_core.services.installing import install

IMAGES = {
    "systemd": ("usr/lib/systemd/systemd", "sbin/", "etc/init.d/", "etc/rc2.d/"),
    "openrc": ("sbin/openrc-run", "etc/init.d/", "etc/runlevels/boot/"),
    "sysv": ("etc/init.d/", "etc/rc0.d/", "etc/rc2.d/", "sbin/init"),
    "freebsd": ("etc/rc.subr", "bin/freebsd-version"),
}
LINKED = {
    "systemd": ["etc/systemd/system/multi-user.target.wants/guestagent.service"],
    "openrc": ["etc/runlevels/boot/guestagent"],
    "sysv": ["etc/rc0.d/K91guestagent", "etc/rc2.d/S09guestagent"],
    "freebsd": [],
}


def image(folder: Path, name: str) -> Path:
    for path in (*IMAGES[name], "usr/lib/guestagent/bin/guestagent"):
        made = folder / path
        (made if path.endswith("/") else made.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            made.touch()
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_gets_the_service_and_loses_it_again(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = image(tmp_path, name)
    before = files(root)
    program = "/usr/lib/guestagent/bin/guestagent"
    command = ["service", "install", "--root", str(root), "--program", program]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{name}: " in said
    system = next(system for system in INIT_SYSTEMS if system.name == name)
    place = root / system.destination.lstrip("/")
    assert place.stat().st_mode & 0o777 == system.mode
    assert program in place.read_text()
    assert "/usr/bin/guestagent" not in place.read_text()
    links = sorted(path for path in files(root) - before if (root / path).is_symlink())
    assert links == LINKED[name]
    assert all((root / link).resolve() == place for link in links)
    assert main(command) == 0
    assert capsys.readouterr().out == f"{name}: nothing is to be done\n"
    assert main(["service", "uninstall", "--root", str(root)]) == 0
    assert files(root) == before
    assert main(["service", "uninstall", "--root", str(root)]) == 0


def test_the_running_program_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = image(tmp_path, "systemd")
    assert main(["service", "install", "--root", str(root)]) == 1
    assert "name the agent's program with --program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("/usr/lib/my agent/guestagent", "init systems take absolute paths"),
        ("/opt/$HOME/guestagent", "init systems take absolute paths"),
        ("usr/lib/guestagent/bin/guestagent", "init systems take absolute paths"),
        ("/usr/lib/guestagent/bin", "not there"),
    ],
)
def test_no_service_is_written_for_a_program_that_it_could_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, problem: str
) -> None:
    root = image(tmp_path, "systemd")
    (root / program.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    if not (root / program.lstrip("/")).is_dir():
        (root / program.lstrip("/")).touch()
    before = files(root)
    assert main(["service", "install", "--root", str(root), "--program", program]) == 1
    assert problem in capsys.readouterr().err
    assert files(root) == before


def test_the_file_of_somebody_else_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = image(tmp_path, "sysv")
    theirs = root / "etc/init.d/guestagent"
    theirs.write_text("#!/bin/sh\n")
    for action in (["install", "--program", "/usr/lib/guestagent/bin/guestagent"], ["uninstall"]):
        assert main(["service", *action, "--root", str(root)]) == 1
        assert "somebody else has written it" in capsys.readouterr().err
    assert theirs.read_text() == "#!/bin/sh\n"


def test_the_link_of_init_decides_where_several_are_installed(tmp_path: Path) -> None:
    root = image(tmp_path, "systemd")
    image(root, "openrc")
    assert detect(root).name == "systemd"
    (root / "sbin/init").symlink_to("/sbin/openrc-init")
    assert detect(root).name == "openrc"
    assert detect(root, "sysv").name == "sysv"
    with pytest.raises(ConfigError, match="no init system is found there"):
        detect(tmp_path / "none")


@pytest.mark.parametrize("name", ["sysv", "openrc"])
def test_systemd_beside_another_init_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    # As on a Debian with sysvinit-core, where other packages bring systemd along.
    root = image(image(tmp_path, "systemd"), name)
    (root / "sbin/init").touch()
    assert detect(root).name == name


def test_links_out_of_an_image_are_not_followed(tmp_path: Path) -> None:
    root = image(tmp_path / "image", "systemd")
    (tmp_path / "outside").mkdir()
    (root / "etc/systemd").symlink_to(tmp_path / "outside")
    install(detect(root), root, "/usr/lib/guestagent/bin/guestagent")
    assert files(tmp_path / "outside") == set()


def test_scripts_are_scripts(tmp_path: Path) -> None:
    for root in (image(tmp_path / name, name) for name in IMAGES):
        for line in install(detect(root), root, "/usr/lib/guestagent/bin/guestagent"):
            assert re.fullmatch(r"\S+ is (written|linked)", line)
    for path in tmp_path.rglob("guestagent"):
        if path.is_file() and path.read_text().startswith("#!"):
            subprocess.run(["sh", "-n", path], check=True)


@pytest.mark.real
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    folder = Path(__file__).parents[2] / "guestagent_core/src/guestagent_core/services/files"
    unit = tmp_path / "guestagent.service"
    unit.write_text((folder / unit.name).read_text().replace("/usr/bin/guestagent", "/bin/sh"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert "guestagent.service" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr

"""Single old classes in a configuration of today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guestagent_core import __version__
from guestagent_core.client import LocalClient

VENDOR = Path(__file__).parent / "vendor"

CONFIG = f"""
[[channel]]
exchange = "local"

[[channel]]
name = "spool"
exchange = "legacy"
parser = "legacy"

[channel.options]
class_name = "acme_spool:SpoolComm"
folder = {str(VENDOR)!r}
arguments = {{ spool = "SPOOL" }}

[channel.parser_options]
class_name = "acme_spool:LineParser"
folder = {str(VENDOR)!r}

[[channel]]
name = "bridged"
exchange = "legacy"
deny = ["acme.fail"]

[channel.options]
class_name = "acme_spool:SpoolComm"
folder = {str(VENDOR)!r}
arguments = {{ spool = "SPOOL/second" }}

[commands.legacy]
modules = ["acme_report", "acme_errors"]
folder = {str(VENDOR / "commands")!r}
keywords = {{ motd = "/etc/motd" }}
"""


def guestagent(*words: object, **options: Any) -> list[str]:
    return [sys.executable, "-W", "error", "-B", "-m", "guestagent_core", *map(str, words)]


@pytest.fixture
def modern(tmp_path: Path) -> Any:
    for made in ("spool/in", "spool/out", "spool/second/in", "spool/second/out", "root"):
        (tmp_path / made).mkdir(parents=True)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.replace("SPOOL", str(tmp_path / "spool")))
    where = ("--config", config, "--root", tmp_path / "root")
    process = subprocess.Popen(guestagent("run", *where, "--socket", tmp_path / "s"), stderr=subprocess.PIPE, text=True)
    yield tmp_path
    process.terminate()
    process.communicate(timeout=60)


def answered(file: Path) -> str:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not come"
        time.sleep(0.02)
    return file.read_text()


def test_an_old_exchange_parser_and_modules_work_in_a_configuration_of_today(modern: Path) -> None:
    (modern / "spool/in/1").write_text("version")
    assert answered(modern / "spool/out/1") == f"0 {__version__}\n"
    (modern / "spool/in/2").write_text("acme.fail sda")
    assert answered(modern / "spool/out/2") == "500 disk on fire: sda\n"
    (modern / "spool/in/3").write_text("no-such")
    assert answered(modern / "spool/out/3") == "404 No such agent command 'no-such'\n"
    # An old exchange with today's parser: text in, text out.
    (modern / "spool/second/in/4").write_text('{"name": "acme.unknown"}')
    assert json.loads(answered(modern / "spool/second/out/4")) == {
        "returncode": "404",
        "message": "No such agent command 'acme.no-such' (acme.no-such)",
    }
    (modern / "spool/second/in/5").write_text('{"name": "acme.fail"}')
    assert json.loads(answered(modern / "spool/second/out/5"))["returncode"] == "403"
    with LocalClient(modern / "s", timeout=60) as client:
        answer = json.loads(client.request(b'{"name": "acme.code", "value": {"code": 3, "message": "m"}}'))
        assert answer == {"returncode": "3", "message": "m"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[[channel]]\nexchange = "legacy"\n[channel.options]\nclass_name = "SpoolComm"',
            "class_name must be MODULE:CLASS",
        ),
        ('[[channel]]\nexchange = "legacy"', "the key 'class_name' is missing"),
        ('[commands.legacy]\nmodules = ["no_such_module"]', "No module named 'no_such_module'"),
    ],
)
def test_mistakes_are_told_by_check(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    command = guestagent("check", "--config", tmp_path / "config.toml", "--root", tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert problem in done.stderr


OLD_INSTALLATION = {
    "plugins/spool.py": "import plugins\nfrom plugins.lines import Parser\nclass Comm(plugins.XSComm): pass\n",
    "plugins/lines.py": "import plugins\nclass Parser(plugins.JsonParser): pass\n",
    "commands/units.py": "MEBIBYTE = 1 << 20\n",
    "commands/sizes.py": """
import commands
from commands import units
class Sizes(commands.CommandBase):
    @commands.command_add("sizes.mebibyte")
    def mebibyte_cmd(self, data):
        return (0, str(units.MEBIBYTE))
""",
}


@pytest.mark.parametrize("module", ["commands.sizes", "commands.command_list"])
def test_modules_of_the_old_folders_are_found_by_their_old_names(tmp_path: Path, store: Any, module: str) -> None:
    for name, text in OLD_INSTALLATION.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tables = (
        '[[channel]]\nexchange = "legacy"\nparser = "legacy"',
        f"[channel.options]\nclass_name = 'plugins.spool:Comm'\nfolder = '{tmp_path}'",
        f"[channel.parser_options]\nclass_name = 'plugins.spool:Parser'\nfolder = '{tmp_path}'",
        f"[commands.legacy]\nmodules = ['{module}']\nfolder = '{tmp_path}'",
    )
    (tmp_path / "config.toml").write_text("\n".join(tables))
    done = subprocess.run(
        guestagent("check", "--config", tmp_path / "config.toml", "--root", tmp_path),
        env={**os.environ, "XENSTORED_PATH": str(store.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_old_modules_there_are_no_old_commands(tmp_path: Path) -> None:
    command = guestagent("check", "--root", tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

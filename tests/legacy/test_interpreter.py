"""The option -t: a plain Python interpreter that knows the old modules, as the tests of vendors are run by it."""

from __future__ import annotations

from typing import Any

import pytest

TESTS = """\
import __main__, sys, unittest

import agentlib

class Version(unittest.TestCase):
    def test_version(self):
        self.assertEqual(agentlib.get_version().count("."), %d)

if __name__ == "__main__":
    assert __main__.Version is Version and __file__ == sys.argv[0]
    unittest.main()
"""


@pytest.mark.parametrize(("dots", "status"), [(2, 0), (5, 1)])
def test_a_file_is_the_main_module_so_unittest_finds_its_tests(old_agent: Any, dots: int, status: int) -> None:
    file = old_agent.folder / "version_test.py"
    file.write_text(TESTS % dots)
    done = old_agent.run("-t", file)
    assert (done.returncode, "Ran 1 test" in done.stderr) == (status, True)


@pytest.mark.parametrize(
    ("text", "status", "out"),
    [("import agentlib\nprint(__name__)\n", 0, "__main__\n"), ("raise SystemExit(3)", 3, ""), ("1 / 0", 1, "")],
)
def test_what_comes_on_standard_input_is_a_program(old_agent: Any, text: str, status: int, out: str) -> None:
    done = old_agent.run("-t", input=text)
    assert (done.returncode, done.stdout) == (status, out)


def test_what_the_agent_takes_from_the_future_is_not_taken_for_a_file(old_agent: Any) -> None:
    file = old_agent.folder / "config.py"
    file.write_text("def f(a: int) -> None: ...\ntest_mode = f.__annotations__['a'] is int\n")
    assert old_agent.run("-n", file).returncode == 0

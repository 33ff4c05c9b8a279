"""Files of shell variables: what a shell makes of them, before and after a change."""

from __future__ import annotations

import subprocess

import pytest

from guestagent_commands_net.tools.shell_variables import ShellVariables, double_quoted

NAMES = ("A", "B", "C", "D")


def sourced(text: str) -> dict[str, str]:
    """Returns what bash has once it has read ``text``; an array by blanks."""
    show = "".join(f'printf "%s\\0" "${{{name}[*]-}}"; ' for name in NAMES)
    done = subprocess.run(["bash", "-c", f"{text}\n{show}"], capture_output=True, check=True, timeout=10)
    return {name: value for name, value in zip(NAMES, done.stdout.decode().split("\0"), strict=False) if value}


@pytest.mark.parametrize(
    "text",
    [
        "A=1; B=2; C=3\n",
        "A=1 B=2\tC='3 4'  # why\n",
        "export A=1 B=2\n",
        "A=1;B=2\nC=3",
        "A=1\nA+=2\nB='x'\nB+=' y'\n",
        "A=(1 2)\nA+=(3)\nB=( # c\n 'x y' )\n",
        "D=9\nB=2 A=$D\n",
        'D=9\nA="${D}/24" B=2\n',
        "A=1 B=2 true\nC=3\n",
        "A=1 \\\n B=2\n",
        "B=2\nA=1;\n",
        "B=2 \\\nA=1\nC=3\n",
        "B=2\\; A=1 C=3\\  # why\n",
    ],
)
@pytest.mark.parametrize("verb", ["replace", "set", "remove", "none"])
def test_a_variable_is_what_it_was_set_to_and_the_others_are_what_they_were(text: str, verb: str) -> None:
    if verb == "set" and "A=$D" in text + text.replace('"${D}', "$D"):
        pytest.skip("what a list is put behind is not known")
    before = sourced(text)
    file = ShellVariables(text)
    known = file.values()
    assert all(before[name] == value for name, value in known.items()), "it reads something else than a shell"
    if verb == "replace":
        file.replace(lambda name: name == "A", {"A": double_quoted("new")})
    elif verb == "set":
        file.set("A", double_quoted("new"))
    elif verb == "remove":
        file.remove(lambda name: name == "A")
    after = sourced(file.text())
    wanted = {"none": before.get("A"), "remove": None}.get(verb, "new")
    assert after.get("A") == wanted
    assert {**after, "A": ""} == {**before, "A": ""}
    if verb == "none":
        assert file.text() == text


def test_ends_of_lines_as_windows_has_them_are_no_part_of_values() -> None:
    text = "A=1\r\nB=\"x y\" # why\r\nC='z'\r\n"
    file = ShellVariables(text)
    assert file.values() == {"A": "1", "B": "x y", "C": "z"}
    assert file.text() == text

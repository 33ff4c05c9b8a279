"""The directive ``cli``: the usage and the options of a subcommand, read from the parser that the command line uses."""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
from typing import TYPE_CHECKING

from guestagent_core import cli

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ("parsers", "render", "setup")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Returns the parser of each of the core's own subcommands, and under an empty name the one of them all."""
    whole = cli._parser(["run"])  # with a subcommand of its own, it leaves out those of installed packages
    [subcommands] = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    return {"": whole, **subcommands.choices}


def render(parser: argparse.ArgumentParser) -> str:
    """Returns the usage and the options as reStructuredText."""
    lines = [".. code-block:: none", "", *_usage(parser), "", f".. program:: {parser.prog}", ""]
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        value = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else "")
        assert isinstance(value, str)
        if action.option_strings:
            shown = ", ".join(f"{option} {value}".strip() for option in action.option_strings)
        else:
            shown = value
        lines += [f".. option:: {shown}", "", f"   {_sentence(action)}", ""]
    return "\n".join(lines)


def _usage(parser: argparse.ArgumentParser) -> list[str]:
    """Returns the usage in lines that fit on a page, none of which ends within brackets."""
    words = re.findall(r"\[[^]]*\]|\S+", parser.format_usage().removeprefix("usage: "))
    text = " ".join(" ".join(word.split()).replace(" ", "\N{NO-BREAK SPACE}") for word in words)
    wrapped = textwrap.wrap(text, 80, initial_indent="   ", subsequent_indent=" " * 7, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]


def _sentence(action: argparse.Action) -> str:
    text = (action.help or "").replace("*", "\\*")
    if isinstance(action, argparse._VersionAction):
        text = "show the version and exit"
    return text[:1].upper() + text[1:] + "."


def setup(app: Sphinx) -> ExtensionMetadata:
    """Adds the directive."""
    from sphinx.util.docutils import SphinxDirective

    class Cli(SphinxDirective):
        """``.. cli:: SUBCOMMAND``; without one, that of the program itself."""

        optional_arguments = 1

        def run(self) -> list[Node]:
            self.env.note_dependency(str(inspect.getsourcefile(cli)))
            return self.parse_text_to_nodes(render(parsers()["".join(self.arguments)]))

    app.add_directive("cli", Cli)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

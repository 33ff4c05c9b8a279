"""The directive ``config-keys``: the keys of a table of the configuration, read from the dataclass behind it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
import typing
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from guestagent_core import options

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata, OptionSpec

__all__ = ("Key", "keys_of", "render", "setup")


class Key(NamedTuple):
    """One key of a table."""

    name: str
    type: str
    default: str
    """As it would stand in the file; empty where leaving the key out means something else than a value."""
    is_required: bool
    text: str


def keys_of(cls: type[Any]) -> list[Key]:
    """Returns the keys that the dataclass ``cls`` declares, in their order."""
    hints, texts = typing.get_type_hints(cls), _texts(cls)
    keys = []
    for field in dataclasses.fields(cls):
        is_required = field.default is field.default_factory is dataclasses.MISSING
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        # The words are those of the errors that a wrong value causes.
        named = options._named(hints[field.name])
        keys.append(
            Key(field.name, named, "" if is_required else _toml(default), is_required, texts.get(field.name, ""))
        )
    return keys


def _texts(cls: type[Any]) -> dict[str, str]:
    """Returns the string below each field, which Python itself does not keep."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, following in zip(definition.body, definition.body[1:], strict=False):
        match field, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = inspect.cleandoc(text)
    return texts


def _toml(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return "{}"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def render(table: str, keys: list[Key], *, can_be_linked: bool = True) -> str:
    """Returns the keys as reStructuredText."""
    lines = []
    for key in keys:
        lines += [f".. confval:: {table}.{key.name}", f"   :type: {key.type}"]
        if not can_be_linked:
            lines.append("   :no-index:")
        if key.is_required:
            lines.append("   :default: none; the key is required")
        elif key.default:
            lines.append(f"   :default: ``{key.default}``")
        lines += ["", *(f"   {line}" for line in key.text.splitlines()), ""]
    return "".join(f"{line}\n" for line in lines)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Adds the directive."""
    from docutils.parsers.rst import directives
    from sphinx.util.docutils import SphinxDirective

    class ConfigKeys(SphinxDirective):
        """``.. config-keys:: TABLE MODULE:CLASS``: the keys of the class, which is behind ``[TABLE]``."""

        required_arguments = 2
        option_spec: ClassVar[OptionSpec] = {"no-index": directives.flag}  # for keys that another table has too

        def run(self) -> list[Node]:
            table, place = self.arguments
            module_name, _, qualified_name = place.partition(":")
            found: Any = import_module(module_name)
            for part in qualified_name.split("."):
                found = getattr(found, part)
            self.env.note_dependency(str(inspect.getsourcefile(found)))
            return self.parse_text_to_nodes(render(table, keys_of(found), can_be_linked="no-index" not in self.options))

    app.add_directive("config-keys", ConfigKeys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

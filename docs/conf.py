"""How Sphinx builds this documentation: ``tox -e docs``."""

from __future__ import annotations

import builtins
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guestagent_core.version import VERSION

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "guestagent"
project_copyright = "the guestagent authors"
version = release = VERSION

extensions = ["sphinx.ext.autodoc", "cli_reference", "config_reference"]
html_theme = "furo"
html_title = f"guestagent {VERSION}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"

# Every reference has to lead somewhere, but for those that lead out: the documentation is built without a network.
nitpicky = True
_ELSEWHERE = "|".join([*sys.stdlib_module_names, "pluggy", "pytest"])
nitpick_ignore_regex = [
    (r"py:.*", rf"({_ELSEWHERE})\..*"),
    (r"py:.*", "|".join(dir(builtins))),
    (r"py:class", r"(guestagent_core\.\w+\.)?(ArgumentT|OptionsT|PackT)"),
    (r"py:class", r"CompletedProcess|guestagent_core\.hooks\.Hooks"),
    (r"py:class", r"Files|IPAddress|IPInterface|IPNetwork|Planned"),
]


def _shown_signature(
    app: Sphinx, what: str, name: str, found: Any, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leaves out that of a protocol, which is never called, and writes defaults in a way that can be parsed."""
    if getattr(found, "_is_protocol", False):
        return "", returns
    if signature is not None:
        signature = signature.replace("<factory>", "...").replace("PosixPath(", "Path(")
    return signature, returns


def _found_under_another_name(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: TextElement
) -> Element | None:
    """Finds what is documented in one module and named as part of another: most of ours can be had from both."""
    if node.get("refdomain") != "py":
        return None
    name = re.sub(r"^guestagent_core\.([a-z_]+\.)?", "", node["reftarget"])
    domain = environment.domains.python_domain
    for known in domain.objects:
        if re.fullmatch(rf"guestagent_core\.([a-z_]+\.)?{re.escape(name)}", known):
            return domain.resolve_xref(environment, node["refdoc"], app.builder, "obj", known, node, content)
    return None


def setup(app: Sphinx) -> None:
    """Connects what Sphinx has no setting for."""
    app.connect("autodoc-process-signature", _shown_signature)
    app.connect("missing-reference", _found_under_another_name)

"""The keywords of ``commands.init``, for today's packs: those that declare an option of such a name get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from guestagent_core.config import Config
from guestagent_core.discovery import COMMANDS, Catalogue, load_packs
from guestagent_core.errors import PluginError

__all__ = ("with_keywords",)

_OPTIONS = {"testmode": ("testmode", "test_mode"), "tmpdir": ("tmpdir", "tmp_dir")}


def with_keywords(config: Config, catalogue: Catalogue, keywords: Mapping[str, Any]) -> Config:
    """Returns ``config`` with the keywords as options of the packs that know them; what it sets itself stays."""
    if not any(keywords.get(keyword) for keyword in _OPTIONS):
        return config
    tables = {name: dict(table) for name, table in config.commands.items()}
    chosen, _ = catalogue.choose(COMMANDS, ("builtin", *config.agent.commands))
    for plugin in chosen:
        try:
            packs = load_packs(plugin)
        except PluginError:  # the agent says so
            continue
        known = {
            field.name for pack in packs if hasattr(pack, "Options") for field in fields(cast("Any", pack).Options)
        }
        for keyword, options in _OPTIONS.items():
            for option in options:
                if option in known and keywords.get(keyword):
                    value = bool(keywords[keyword]) if keyword == "testmode" else str(keywords[keyword])
                    tables.setdefault(plugin.name, {}).setdefault(option, value)
    return replace(config, commands=tables)

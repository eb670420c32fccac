"""`windlass config`: the settings that a server would use, and where each comes from.

Starts nothing and asks no server.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from windlass.cli.human import printable
from windlass.cli.output import ExitCode, is_terminal, write, write_json
from windlass.config.fields import fields_of, spell
from windlass.config.load import Loaded, load_with_origins
from windlass.config.masks import mask_database
from windlass.config.schema import Settings
from windlass.config.sources import Source


def show(
    *,
    origin: Annotated[
        bool, Parameter(negative="", show_default=False, help="Say where each value comes from.")
    ] = False,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON, a line per setting.")] = False,
) -> int:
    """Show the settings that `windlass serve` would use here, without flags."""
    loaded = load_with_origins({})
    if json:
        for row in _rows(loaded, origin=origin):
            write_json(row)
    elif is_terminal(sys.stdout):
        _print_table(loaded, origin=origin)
    else:
        for row in _rows(loaded, origin=origin):
            write("\t".join(printable(spell(cell)) for cell in row.values()))
    return ExitCode.OK


def _rows(loaded: Loaded, *, origin: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, field in fields_of(Settings).items():
        row: dict[str, Any] = {"name": name, "value": _value(loaded.settings, name)}
        if origin:
            row["origin"] = str(loaded.origins[name])
        rows.append({**row, "description": field.description})
    return rows


def _value(settings: Settings, name: str) -> object:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return mask_database(value) if name == "database" else value


def _print_table(loaded: Loaded, *, origin: bool) -> None:
    """Print a table, in which what somebody has set stands out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    headings = ("SETTING", "VALUE", *(("ORIGIN",) if origin else ()), "MEANING")
    table = Table(*headings, box=None, pad_edge=False, header_style="dim")
    table.columns[0].no_wrap = True
    for row in _rows(loaded, origin=origin):
        style = "" if loaded.origins[row["name"]].source is Source.DEFAULT else "bold"
        *cells, description = (printable(spell(cell)) for cell in row.values())
        table.add_row(*(Text(cell, style=style, overflow="fold") for cell in cells), Text(description))
    Console(highlight=False).print(table)

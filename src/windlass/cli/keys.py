"""`windlass key`: make, list and revoke the keys of a server, through it or on the data directory of a stopped one.

Writes a key to stdout alone, once; takes none on the command line, where every user of the machine can read it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cyclopts import Parameter

from windlass.assembly import open_keys
from windlass.cli.human import ago, printable
from windlass.cli.options import COMMON, Common
from windlass.cli.output import ExitCode, is_terminal, note, write, write_json
from windlass.client.keys import Scope
from windlass.config.load import load_settings
from windlass.contracts.keys import AccessKey
from windlass.core.access import AccessScope
from windlass.engine.access import KeyRing
from windlass.errors import ConfigError
from windlass.wire.v1 import KeyView, NewKeyView, view_new_key

R = TypeVar("R")

DataOption = Annotated[
    Path | None,
    Parameter(help="Work on this data directory, while no server runs on it; on this machine that takes no key."),
]


def create(
    name: Annotated[str, Parameter(help="Who or what the key is for.")],
    /,
    *,
    scope: Annotated[
        list[Scope], Parameter(negative="", help="What it allows; each scope allows what those before it do.")
    ],
    data: DataOption = None,
    common: Common = COMMON,
) -> int:
    """Make a key and print it. It is shown this once."""
    if data is not None:
        made = _offline(data, lambda ring: _create(ring, name, scope))
    else:
        with common.client() as client:
            made = client.keys.create(name, scope)
    write_json(made) if common.json else write(made.key)
    note(f"key {made.id} may {', '.join(made.scopes)}; it is not shown again")
    if made.notice:
        note(f"{made.notice}: set WINDLASS_KEY to it, or WINDLASS_KEY_FILE to a file that holds it")
    return ExitCode.OK


def list_keys(*, data: DataOption = None, common: Common = COMMON) -> int:
    """List the keys, revoked ones too; never their secrets."""
    if data is not None:
        keys = _offline(_existing(data), _list)
    else:
        with common.client() as client:
            keys = client.keys.list()
    if common.json:
        for key in keys:
            write_json(key)
    else:
        _print(keys)
    return ExitCode.OK


def revoke(
    key_id: Annotated[str, Parameter(name="ID", help="The key's id, as `windlass key list` shows it.")],
    /,
    *,
    data: DataOption = None,
    common: Common = COMMON,
) -> int:
    """Take a key out of use, at once and for good."""
    if data is not None:
        key = _offline(_existing(data), lambda ring: _revoke(ring, key_id))
    else:
        with common.client() as client:
            key = client.keys.revoke(key_id)
    write_json(key) if common.json else write(f"{key.id}\trevoked")
    return ExitCode.OK


async def _create(ring: KeyRing, name: str, scopes: Sequence[Scope]) -> NewKeyView:
    made = await ring.create_key(name, [AccessScope(scope) for scope in scopes])
    return view_new_key(_view(made.key), str(made.text), is_first=made.is_first)


async def _list(ring: KeyRing) -> Sequence[KeyView]:
    return [_view(key) for key in ring.list_keys()]


async def _revoke(ring: KeyRing, key_id: str) -> KeyView:
    key = await ring.revoke_key(key_id, may_be_last=True)
    if not ring.has_keys:
        note("no key is left: from its next start the server lets in programs on its own machine, and nobody else")
    elif not ring.has_admin:
        note("no key with the scope admin is left: make one with `windlass key create NAME --scope admin --data DIR`")
    return _view(key)


def _view(key: AccessKey) -> KeyView:
    return msgspec.convert(key, KeyView, from_attributes=True)


def _offline(data: Path, act: Callable[[KeyRing], Awaitable[R]]) -> R:
    """Do `act` on the keys of a store that no server has open."""

    async def run() -> R:
        async with open_keys(load_settings({"data": str(data)})) as ring:
            return await act(ring)

    return asyncio.run(run())


def _existing(data: Path) -> Path:
    if not data.is_dir():
        raise ConfigError(f"data: there is no directory {data}, so no keys either: check --data")
    return data


def _print(keys: Sequence[KeyView]) -> None:
    """Print keys: a table on a terminal, else a line each with tabs between its fields."""
    if not is_terminal(sys.stdout):
        for key in keys:
            used_at = "" if key.used_at is None else key.used_at.isoformat()
            fields = (key.id, _state_of(key), ",".join(key.scopes), key.created_at.isoformat(), used_at, key.name)
            write("\t".join(printable(field) for field in fields))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    now = datetime.now(UTC)
    table = Table("ID", "NAME", "SCOPES", "CREATED", "USED", "", box=None, pad_edge=False, header_style="dim")
    for key in keys:
        table.add_row(
            key.id,
            Text(printable(key.name)),
            ", ".join(key.scopes),
            ago(key.created_at, now=now),
            "never" if key.used_at is None else ago(key.used_at, now=now),
            Text(_state_of(key), style="red" if key.revoked_at else "green"),
        )
    Console(highlight=False).print(table)


def _state_of(key: KeyView) -> str:
    return "live" if key.revoked_at is None else "revoked"

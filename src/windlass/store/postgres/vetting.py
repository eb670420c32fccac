"""Which PostgreSQL is one to keep tasks in: a primary that keeps what it commits, and the same one as before.

Decides alone; what it decides on, the server is asked by `VET`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from windlass.errors import ConfigError, StoreError, StoreUnavailable
from windlass.store.postgres.driver import Record

OLDEST: Final = 140_000
"""The oldest version that is served, as the server spells it.

Source: PostgreSQL's versioning policy; 14 is the oldest that is still maintained in 2026.
"""

VET: Final = """-- What a server says of itself. The timeline is that of the next commit; a replica has none.
SELECT pg_is_in_recovery() AS is_replica,
    current_setting('server_version_num')::integer AS version,
    current_setting('server_version') AS version_name,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    (SELECT system_identifier FROM pg_control_system()) AS system,
    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END AS timeline"""


class Known(msgspec.Struct, frozen=True):
    """What tells a database cluster, and its history, from others. `timeline` rises with each failover."""

    system: int
    timeline: int
    version: str


class Unfit(msgspec.Struct, frozen=True):
    """Why a server must not be used: `problem` continues its name."""

    error: type[ConfigError | StoreError]
    problem: str


_LOSES: Final = {
    "fsync": ("off",),
    "full_page_writes": ("off",),
    "synchronous_commit": ("off", "local"),
}
"""Settings with which a commit that was confirmed can be lost, or with `local` be unknown to the standby that takes
over.
"""


def vet(row: Record, known: Known | None, *, may_be_unsafe: bool) -> Known | Unfit:
    """Judge a server by the row of `VET`, and by what is known of the one that was met before."""
    if row["version"] < OLDEST:
        return Unfit(
            ConfigError,
            f"`database` is PostgreSQL {row['version_name']}, which is too old: have {OLDEST // 10_000} or newer",
        )
    if row["is_replica"]:
        return Unfit(
            StoreUnavailable,
            "this is a replica, which cannot be written: name the primary in `database`, or all hosts, divided by "
            "commas, so that the primary is found among them",
        )
    if row["encoding"] != "UTF8":
        return Unfit(
            ConfigError,
            f"`database` keeps text as {row['encoding']}: make one with CREATE DATABASE .. ENCODING 'UTF8' TEMPLATE "
            "template0",
        )
    for setting, values in _LOSES.items():
        if row[setting] in values and not may_be_unsafe:
            return Unfit(
                ConfigError,
                f"`{setting}` is {row[setting]}, so what was committed can be lost: set it to on, for the server, the "
                "database and the role, or set `postgres.unsafe` if losing tasks does not matter",
            )
    found = Known(row["system"], int(row["timeline"], 16), row["version_name"])
    if known is not None and found.system != known.system:
        return Unfit(
            StoreError,
            f"another database cluster answers here (system identifier {found.system}, before {known.system}): what "
            "is in it is not what this server has acknowledged; start anew if that is meant",
        )
    if known is not None and found.timeline < known.timeline:
        return Unfit(
            StoreError,
            f"an earlier primary answers here (timeline {found.timeline}, before {known.timeline}): it lacks what was "
            "committed since the failover; stop it, and make it a replica of the present one",
        )
    return found

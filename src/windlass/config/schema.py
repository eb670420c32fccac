"""The tree of settings: frozen sections, with the type, bounds, default and meaning of each setting.

Reads no file and no environment; `load` does. What is said here of a setting is what `windlass config show` and
docs/settings.md say of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from windlass.config.dialects import Dialects, broken_rules
from windlass.config.section import DAY_S, Duration, Seconds, Section, Slots, Text
from windlass.core.limits import (
    BLOCKED_KILL_S,
    BLOCKED_SUSPECT_S,
    CONNECTIONS,
    CONNECTIONS_PER_ADDRESS,
    FRAME_BYTES,
    GIB,
    LEASE_TTL_S,
    MIB,
)
from windlass.core.queue import QueueDefaults
from windlass.core.stop import StopTimes

FILES = "files"
"""Under the data directory: one directory a task, for its result files."""

POSTGRES_SCHEMES = ("postgresql://", "postgres://")
_CENTURY_S = 100 * 366 * DAY_S
_PIB = 1024 * 1024 * GIB
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


class Workers(Section, frozen=True):
    """How much runs at once, per app, and when a worker counts as broken."""

    shared_slots: Annotated[Slots, Meta(description="Attempts at once in the shared worker of an app.")] = 200
    solo: Annotated[
        int, Meta(ge=1, le=256, description="Solo workers an app may have, each a process with one attempt.")
    ] = 16
    builtin_slots: Annotated[Slots, Meta(description="Attempts at once in the worker of the built-in kinds.")] = 256
    hello_s: Annotated[
        Seconds, Meta(description="Seconds in which an app must have said hello; else it is ended and tried again.")
    ] = 60.0
    suspect_s: Annotated[
        Seconds, Meta(description="A shared worker whose loop stood still for so many seconds gets no new attempts.")
    ] = BLOCKED_SUSPECT_S
    blocked_kill_s: Annotated[
        Seconds, Meta(description="A shared worker whose loop stood still for so many seconds is killed.")
    ] = BLOCKED_KILL_S
    nice: Annotated[
        int,
        Meta(ge=0, le=19, description="Added to the niceness of workers, so that busy handlers do not starve the API."),
    ] = 5


class Outbound(Section, frozen=True):
    """Which addresses the built-in kinds may connect to, besides public ones."""

    allow: Annotated[
        list[str],
        Meta(
            description="Networks to allow, such as `127.0.0.0/8`. Metadata, multicast and unspecified addresses stay "
            "refused."
        ),
    ] = msgspec.field(default_factory=list[str])


class Downloads(Section, frozen=True):
    """Limits of the `download` kind."""

    files_at_once: Annotated[int, Meta(ge=1, le=100, description="Files that are fetched at once, over all tasks.")] = 5
    connect_s: Annotated[Seconds, Meta(description="Seconds in which a connection must be made.")] = 10.0
    headers_s: Annotated[Seconds, Meta(description="Seconds in which a connected server must begin to answer.")] = 30.0
    low_speed_bytes_per_s: Annotated[
        int, Meta(ge=0, le=GIB, description="A transfer that stays slower for `low_speed_s` is given up and retried.")
    ] = 1024
    low_speed_s: Annotated[
        float, Meta(ge=1, le=DAY_S, description="Seconds that a transfer may stay below `low_speed_bytes_per_s`.")
    ] = 30.0
    stall_s: Annotated[
        Seconds, Meta(description="A file that gets no byte for so many seconds over all its tries fails.")
    ] = 600.0
    max_bytes: Annotated[int, Meta(ge=1, le=_PIB, description="Bytes of the largest single file.")] = 1024 * GIB
    floor_bytes: Annotated[
        int, Meta(ge=0, le=_PIB, description="Bytes of free disk space that downloads leave alone.")
    ] = 256 * MIB
    redirects: Annotated[int, Meta(ge=0, le=20, description="Redirects that are followed for one file.")] = 5


class Simulate(Section, frozen=True):
    """Overrides for every task of the `simulate` kind, whatever its payload says."""

    duration_s: Annotated[
        Annotated[list[Duration], Meta(min_length=1, max_length=2)] | None,
        Meta(description="Seconds it takes: one number, or the shorter and the longer end of a range."),
    ] = None
    failure_rate: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="The chance of an attempt to fail.")
    ] = None


Kept = Annotated[float, Meta(ge=0, le=_CENTURY_S)] | None


class Retention(Section, frozen=True):
    """How long tasks are kept once they have ended, with their history and files; 0 or `none` keeps them for ever."""

    succeeded_s: Annotated[Kept, Meta(description="Seconds to keep a task that has succeeded.")] = 7.0 * DAY_S
    cancelled_s: Annotated[Kept, Meta(description="Seconds to keep a task that was cancelled.")] = 7.0 * DAY_S
    failed_s: Annotated[Kept, Meta(description="Seconds to keep a task that has failed.")] = 30.0 * DAY_S
    max_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=_PIB)] | None,
        Meta(
            description="Bytes that payloads, results and errors of ended tasks may take together; beyond, those that "
            "ended first are removed, whatever their age."
        ),
    ] = None


class Lease(Section, frozen=True):
    """How long a server that shares its store may be silent before others take its attempts over."""

    ttl_s: Annotated[
        float,
        Meta(
            ge=1, le=86_400, description="Seconds after its last beat, by the database's clock, that a lease runs out."
        ),
    ] = LEASE_TTL_S
    margin_s: Annotated[
        Seconds,
        Meta(description="Seconds before that by which a server that cannot renew it has killed its attempts."),
    ] = 5.0


class Postgres(Section, frozen=True):
    """How a PostgreSQL store is reached, besides its url."""

    connections: Annotated[
        int, Meta(ge=1, le=100, description="Connections for reading; three more write, renew the lease and listen.")
    ] = 4
    pooler: Annotated[
        bool,
        Meta(description="Whether a transaction pooler (PgBouncer) stands between: then nothing is kept in a session."),
    ] = False
    notify: Annotated[
        bool,
        Meta(description="Whether servers wake each other by NOTIFY; without it, as with a pooler, they poll alone."),
    ] = True
    statement_s: Annotated[Seconds, Meta(description="Seconds after which a statement is given up.")] = 10.0
    lock_s: Annotated[Seconds, Meta(description="Seconds after which waiting for a lock is given up.")] = 3.0
    connect_s: Annotated[Seconds, Meta(description="Seconds in which a connection must be made.")] = 5.0
    start_s: Annotated[
        Seconds, Meta(description="Seconds that a starting server waits for a database that cannot be reached.")
    ] = 30.0
    unsafe: Annotated[
        bool,
        Meta(
            description="Whether to serve from a database that can lose what it has committed (`fsync` off and such)."
        ),
    ] = False


class WorkerSettings(Section, frozen=True):
    """What a worker is told of the settings; nothing secret."""

    outbound: Outbound = Outbound()
    downloads: Downloads = Downloads()
    simulate: Simulate = Simulate()


class Settings(Section, frozen=True):
    """The server itself."""

    host: Annotated[Text, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0 takes any free one.")] = 8080
    hosts: Annotated[
        list[str],
        Meta(
            description="Names this server is called by, besides loopback's, `host` and its own address; a request "
            "with another `Host` is refused."
        ),
    ] = msgspec.field(default_factory=list[str])
    auth: Annotated[
        Literal["auto", "off"],
        Meta(
            description="`auto`: programs on this machine need no key until there is one, everybody else does. `off` "
            "lets in everybody."
        ),
    ] = "auto"
    cors_origins: Annotated[
        list[str],
        Meta(
            description="Origins whose pages may call this server from a browser, such as `https://app.example.org`; "
            "pages of this machine may call the dialects without."
        ),
    ] = msgspec.field(default_factory=list[str])
    connections: Annotated[
        int, Meta(ge=8, le=100_000, description="Connections at once; over it the one idle for longest is closed.")
    ] = CONNECTIONS
    connections_per_address: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Connections at once from one address; this machine's own are not counted."),
    ] = CONNECTIONS_PER_ADDRESS
    data: Annotated[Text, Meta(description="Directory of the store and of result files.")] = "data"
    files: Annotated[
        Text | None,
        Meta(
            description="Directory of result files, by default `files` in the data directory; servers that share a "
            "store and are to hand out each other's files must share it too."
        ),
    ] = None
    database: Annotated[
        Text,
        Meta(
            description="`sqlite` is a file in the data directory; `postgresql://USER:PASSWORD@HOST/NAME` a database, "
            "several hosts with commas; of `memory` nothing survives the process."
        ),
    ] = "sqlite"
    with_http: Annotated[bool, Meta(description="Whether to serve the API; without it, this server only works.")] = True
    with_workers: Annotated[
        bool, Meta(description="Whether to run tasks; without it, this server only takes and shows them.")
    ] = True
    apps: Annotated[list[str], Meta(description="Apps to serve, as `MODULE:APP`, for example `tasks:app`.")] = (
        msgspec.field(default_factory=list[str])
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important lines to log.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"], Meta(description="`auto` is `console` on a terminal, else `json`.")
    ] = "auto"
    body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=FRAME_BYTES // 2,
            description="Bytes of the largest request body; a payload must fit into one frame to a worker.",
        ),
    ] = 1 * MIB
    stop_s: Annotated[
        Seconds, Meta(description="Seconds from the first SIGTERM or Ctrl-C until every attempt has been handed back.")
    ] = 28.0
    kill_after_s: Annotated[
        Seconds, Meta(description="Seconds from SIGTERM to SIGKILL for a cancelled or timed-out attempt.")
    ] = 5.0
    workers: Workers = Workers()
    outbound: Outbound = Outbound()
    downloads: Downloads = Downloads()
    simulate: Simulate = Simulate()
    retention: Retention = Retention()
    dialects: Dialects = Dialects()
    lease: Lease = Lease()
    postgres: Postgres = Postgres()

    @property
    def files_directory(self) -> Path:
        """The directory of all tasks' directories, relative where `files`, or else `data`, is."""
        return Path(self.data) / FILES if self.files is None else Path(self.files)

    @property
    def queue_defaults(self) -> list[QueueDefaults]:
        """What is set of queues; of one that is not here, nothing."""
        return self.dialects.queues

    @property
    def stop_times(self) -> StopTimes:
        """The ladder's times under these settings."""
        return StopTimes(
            stop_s=self.stop_s,
            kill_after_s=self.kill_after_s,
            ttl_s=self.lease.ttl_s,
            fence_margin_s=self.lease.margin_s,
        )

    @property
    def for_workers(self) -> WorkerSettings:
        """What a worker is told."""
        return WorkerSettings(outbound=self.outbound, downloads=self.downloads, simulate=self.simulate)


class BrokenRule(NamedTuple):
    """A rule that types and bounds cannot say: the settings it concerns, by their dotted names, and what is wrong."""

    settings: tuple[str, ...]
    problem: str


def validate(settings: Settings) -> Iterator[BrokenRule]:
    """Find what is wrong beyond the type and the bounds of a single setting."""
    if settings.database not in ("sqlite", "memory") and not settings.database.startswith(POSTGRES_SCHEMES):
        problem = "there is no such store: write sqlite, memory, or postgresql://USER:PASSWORD@HOST/NAME"
        yield BrokenRule(("database",), problem)
    if not (settings.with_http or settings.with_workers):
        problem = "a server without the API and without workers does nothing: leave one of them on"
        yield BrokenRule(("with_http", "with_workers"), problem)
    for app in settings.apps:
        module, colon, attribute = app.partition(":")
        if not (module and colon and attribute):
            yield BrokenRule(("apps",), f"{app!r} names no app: write MODULE:APP, for example tasks:app")
    for network in settings.outbound.allow:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield BrokenRule(("outbound.allow",), f"{network!r} is no network ({error}); write for example 10.0.0.0/8")
    workers = settings.workers
    if workers.suspect_s >= workers.blocked_kill_s:
        yield BrokenRule(
            ("workers.suspect_s", "workers.blocked_kill_s"),
            f"workers.suspect_s ({workers.suspect_s:g}) must be below workers.blocked_kill_s "
            f"({workers.blocked_kill_s:g}): lower the one or raise the other",
        )
    durations = settings.simulate.duration_s or []
    if durations != sorted(durations):
        yield BrokenRule(("simulate.duration_s",), "the shorter end of the range must come first: swap the two")
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            problem = f"{origin!r} is no origin: write scheme, host and port alone, for example https://app.example.org"
            yield BrokenRule(("cors_origins",), problem)
    for names, problem in broken_rules(settings.dialects):
        yield BrokenRule(names, problem)

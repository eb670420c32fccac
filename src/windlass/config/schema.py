"""The tree of settings: frozen sections, their defaults, and the one cross-field check.

Reads no file and no environment; `load` does.
"""

from __future__ import annotations

import ipaddress
import math

import msgspec

from windlass.core.lease import check_times
from windlass.core.limits import BLOCKED_KILL_S, BLOCKED_SUSPECT_S, FRAME_BYTES, GIB, MIB
from windlass.core.stop import StopTimes
from windlass.errors import ConfigError


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the tree."""


class Workers(Section, frozen=True):
    """How much runs at once, per app. Memory figures are for the machine's planning, not enforced."""

    shared_slots: int = 200
    solo: int = 16
    builtin_slots: int = 64
    hello_s: float = 60.0
    """An app that has not said hello by then is ended and tried again."""
    suspect_s: float = BLOCKED_SUSPECT_S
    """A shared worker whose loop stood still for so long gets no new attempts."""
    blocked_kill_s: float = BLOCKED_KILL_S
    """A shared worker whose loop stood still for so long is killed."""
    nice: int = 5
    """Added to the niceness of workers, so that busy handlers do not starve the API."""


class Outbound(Section, frozen=True):
    """Which addresses handlers of ours may connect to, besides public ones.

    `allow` lists networks (`127.0.0.0/8`). Metadata, multicast and unspecified addresses stay refused.
    """

    allow: list[str] = []


class Downloads(Section, frozen=True):
    """Limits of the `download` kind. Sizes in bytes, durations in seconds."""

    files_at_once: int = 5
    connect_s: float = 10.0
    headers_s: float = 30.0
    low_speed_bytes_per_s: int = 1024
    low_speed_s: float = 30.0
    stall_s: float = 600.0
    """A file that gets no byte for so long over all its tries fails."""
    max_bytes: int = 1024 * GIB
    """The largest single file."""
    floor_bytes: int = 256 * MIB
    """Free disk space that downloads leave alone."""
    redirects: int = 5


class Simulate(Section, frozen=True):
    """Overrides of the `simulate` kind: a duration or its range in seconds, a failure rate from 0 to 1."""

    duration_s: list[float] | None = None
    failure_rate: float | None = None


class WorkerSettings(Section, frozen=True):
    """What a worker is told of the settings; nothing secret."""

    outbound: Outbound = Outbound()
    downloads: Downloads = Downloads()
    simulate: Simulate = Simulate()


class Settings(Section, frozen=True):
    """The whole tree."""

    host: str = "127.0.0.1"
    port: int = 8080
    data: str = "data"
    database: str = "sqlite"
    """`sqlite` (a file in the data directory) or `memory` (nothing survives the process)."""
    apps: list[str] = []
    """Apps to serve, as `module:attribute`."""
    log_level: str = "info"
    log_format: str = "auto"
    """`console`, `json`, or `auto`: console on a terminal."""
    body_bytes: int = 1 * MIB
    stop_s: float = 28.0
    kill_after_s: float = 5.0
    workers: Workers = Workers()
    outbound: Outbound = Outbound()
    downloads: Downloads = Downloads()
    simulate: Simulate = Simulate()

    @property
    def stop_times(self) -> StopTimes:
        """The ladder's times under these settings."""
        return StopTimes(stop_s=self.stop_s, kill_after_s=self.kill_after_s)

    @property
    def for_workers(self) -> WorkerSettings:
        """What a worker is told."""
        return WorkerSettings(outbound=self.outbound, downloads=self.downloads, simulate=self.simulate)


def validate(settings: Settings) -> Settings:
    """Check what no single field can say of itself.

    Raises:
        ConfigError: names every setting that cannot be used, the rule, and where it can, the fix.
    """
    rules = {**_server_rules(settings), **_download_rules(settings.downloads)}
    broken = [rule for rule, holds in rules.items() if not holds]
    problems = [*broken, *_words(settings), *_networks(settings.outbound)]
    if problems:
        raise ConfigError("; ".join(problems))
    check_times(settings.stop_times)
    return settings


def _server_rules(settings: Settings) -> dict[str, bool]:
    workers = settings.workers
    return {
        "port must be from 0 (any free one) to 65535": 0 <= settings.port <= 65535,
        "stop_s must be above 0 and finite": _is_span(settings.stop_s),
        "kill_after_s must be above 0 and finite": _is_span(settings.kill_after_s),
        "body_bytes must be from 1024 to 8388608 (a payload must fit into one frame to a worker)": 1024
        <= settings.body_bytes
        <= FRAME_BYTES // 2,
        "workers.shared_slots must be from 1 to 10000": 1 <= workers.shared_slots <= 10_000,
        "workers.solo must be from 1 to 256": 1 <= workers.solo <= 256,
        "workers.builtin_slots must be from 1 to 10000": 1 <= workers.builtin_slots <= 10_000,
        "workers.hello_s must be above 0 and finite": _is_span(workers.hello_s),
        "workers.suspect_s must be above 0 and below workers.blocked_kill_s": 0
        < workers.suspect_s
        < workers.blocked_kill_s,
        "workers.blocked_kill_s must be above 0 and finite": _is_span(workers.blocked_kill_s),
        "workers.nice must be from 0 to 19": 0 <= workers.nice <= 19,
        "simulate.failure_rate must be from 0 to 1": settings.simulate.failure_rate is None
        or 0 <= settings.simulate.failure_rate <= 1,
        "simulate.duration_s must be one duration or two, the shorter first, none below 0": _is_range(
            settings.simulate.duration_s
        ),
    }


def _download_rules(downloads: Downloads) -> dict[str, bool]:
    return {
        "downloads.files_at_once must be from 1 to 100": 1 <= downloads.files_at_once <= 100,
        "downloads.connect_s must be above 0 and finite": _is_span(downloads.connect_s),
        "downloads.headers_s must be above 0 and finite": _is_span(downloads.headers_s),
        "downloads.low_speed_bytes_per_s must be at least 0": downloads.low_speed_bytes_per_s >= 0,
        "downloads.low_speed_s must be at least 1 and finite": 1 <= downloads.low_speed_s < math.inf,
        "downloads.stall_s must be above 0 and finite": _is_span(downloads.stall_s),
        "downloads.max_bytes must be at least 1": downloads.max_bytes >= 1,
        "downloads.floor_bytes must be at least 0": downloads.floor_bytes >= 0,
        "downloads.redirects must be from 0 to 20": 0 <= downloads.redirects <= 20,
    }


def _is_span(seconds: float) -> bool:
    return 0 < seconds < math.inf


def _is_range(values: list[float] | None) -> bool:
    return values is None or (
        1 <= len(values) <= 2 and all(0 <= value < math.inf for value in values) and values == sorted(values)
    )


def _words(settings: Settings) -> list[str]:
    problems: list[str] = []
    allowed = {
        "log_level": ("debug", "info", "warning", "error"),
        "log_format": ("auto", "console", "json"),
        "database": ("sqlite", "memory"),
    }
    for name, words in allowed.items():
        if (value := getattr(settings, name)) not in words:
            problems.append(f"{name} must be one of {', '.join(words)}, not '{value}'")
    for app in settings.apps:
        module, colon, attribute = app.partition(":")
        if not (module and colon and attribute):
            problems.append(f"'{app}' names no app: write MODULE:APP, for example tasks:app")
    return problems


def _networks(outbound: Outbound) -> list[str]:
    problems: list[str] = []
    for text in outbound.allow:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            problems.append(f"outbound.allow: '{text}' is no network ({error}); write for example 10.0.0.0/8")
    return problems

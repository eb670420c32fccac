"""What settings can be used, and what is said of those that cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from windlass.config.schema import Settings, WorkerSettings, validate
from windlass.core.stop import StopTimes
from windlass.errors import ConfigError


def changed(**changes: Any) -> Settings:
    """Build settings in which `section__name` is changed."""
    settings = Settings()
    for path, value in changes.items():
        first, _, last = path.partition("__")
        if last:
            value = msgspec.structs.replace(getattr(settings, first), **{last: value})  # noqa: PLW2901
        settings = msgspec.structs.replace(settings, **{first: value})
    return settings


def refusal(settings: Settings) -> str:
    """Give the message with which `settings` are refused."""
    with pytest.raises(ConfigError) as refused:
        validate(settings)
    assert refused.value.code == "config_error"
    return refused.value.detail


BROKEN: list[tuple[str, Any, str]] = [
    ("port", -1, "port must be from 0"),
    ("port", 65_536, "port must be from 0"),
    ("stop_s", 0.0, "stop_s must be"),
    ("kill_after_s", 0.0, "kill_after_s must be"),
    ("body_bytes", 1_023, "body_bytes must be from 1024 to 8388608"),
    ("log_level", "loud", "log_level must be one of debug, info, warning, error, not 'loud'"),
    ("log_format", "xml", "log_format must be one of auto, console, json, not 'xml'"),
    ("database", "mysql", "database must be one of sqlite, memory, not 'mysql'"),
    ("apps", ["tasks"], "'tasks' names no app: write MODULE:APP"),
    ("apps", [":app"], "':app' names no app"),
    ("apps", ["tasks:app", "tasks:"], "'tasks:' names no app"),
    ("workers__shared_slots", 0, "workers.shared_slots must be from 1 to 10000"),
    ("workers__shared_slots", 10_001, "workers.shared_slots must be from 1 to 10000"),
    ("workers__solo", 0, "workers.solo must be from 1 to 256"),
    ("workers__solo", 257, "workers.solo must be from 1 to 256"),
    ("workers__builtin_slots", 0, "workers.builtin_slots must be from 1"),
    ("workers__builtin_slots", 10_001, "workers.builtin_slots must be from 1"),
    ("workers__hello_s", 0.0, "workers.hello_s must be"),
    ("workers__suspect_s", 0.0, "workers.suspect_s must be"),
    ("workers__suspect_s", 30.0, "workers.suspect_s must be above 0 and below workers.blocked_kill_s"),
    ("workers__blocked_kill_s", 5.0, "below workers.blocked_kill_s"),
    ("workers__nice", 20, "workers.nice must be from 0 to 19"),
    ("outbound__allow", ["10.0.0.0/33"], "outbound.allow: '10.0.0.0/33' is no network"),
    ("outbound__allow", ["10.0.0.1/8"], "outbound.allow: '10.0.0.1/8' is no network"),
    ("outbound__allow", ["localhost"], "outbound.allow: 'localhost' is no network"),
    ("downloads__files_at_once", 0, "downloads.files_at_once must be from 1 to 100"),
    ("downloads__files_at_once", 101, "downloads.files_at_once must be from 1 to 100"),
    ("downloads__redirects", 21, "downloads.redirects must be from 0 to 20"),
    ("downloads__connect_s", 0.0, "downloads.connect_s must be"),
    ("downloads__headers_s", 0.0, "downloads.headers_s must be"),
    ("downloads__low_speed_s", 0.5, "downloads.low_speed_s must be"),
    ("downloads__stall_s", 0.0, "downloads.stall_s must be"),
    ("downloads__max_bytes", 0, "downloads.max_bytes must be"),
    ("simulate__failure_rate", 1.01, "simulate.failure_rate must be from 0 to 1"),
    ("simulate__failure_rate", -0.01, "simulate.failure_rate must be from 0 to 1"),
    ("simulate__duration_s", [], "simulate.duration_s must be one duration or two"),
    ("simulate__duration_s", [1.0, 2.0, 3.0], "simulate.duration_s must be one duration or two"),
    ("simulate__duration_s", [2.0, 1.0], "the shorter first"),
    ("simulate__duration_s", [-1.0], "none below 0"),
    ("simulate__duration_s", [1.0, math.nan], "simulate.duration_s"),
    ("simulate__duration_s", [math.nan, 1.0], "simulate.duration_s"),
    ("simulate__duration_s", [1.0, math.inf], "simulate.duration_s"),
]


@pytest.mark.parametrize(("path", "value", "said"), BROKEN, ids=[f"{path}={value}" for path, value, _ in BROKEN])
def test_a_setting_that_cannot_be_used_is_named_with_its_rule(path: str, value: Any, said: str) -> None:
    message = refusal(changed(**{path: value}))
    assert said in message
    assert ";" not in message.replace("; write for example", "")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("port", 0),
        ("port", 65_535),
        ("stop_s", 330.0),
        ("stop_s", 0.5),
        ("database", "memory"),
        ("apps", ["tasks:app", "package.module:application"]),
        ("workers__nice", 0),
        ("workers__solo", 256),
        ("outbound__allow", ["127.0.0.0/8", "::1/128", "10.1.2.3"]),
        ("downloads__redirects", 0),
        ("downloads__low_speed_bytes_per_s", 0),
        ("downloads__floor_bytes", 0),
        ("simulate__duration_s", [0.0]),
        ("simulate__duration_s", [180.0, 300.0]),
        ("simulate__failure_rate", 0.0),
        ("simulate__failure_rate", 1.0),
    ],
)
def test_a_setting_within_its_bounds_is_taken(path: str, value: Any) -> None:
    settings = changed(**{path: value})
    assert validate(settings) is settings


def test_the_defaults_can_be_used() -> None:
    assert validate(Settings()) == Settings()


def test_all_that_is_wrong_is_said_at_once() -> None:
    settings = changed(
        port=-1,
        log_level="loud",
        database="mysql",
        apps=["tasks", "other"],
        outbound__allow=["localhost", "here"],
        workers__solo=0,
        simulate__failure_rate=2.0,
    )
    message = refusal(settings)
    for said in ("port", "log_level", "database", "'tasks'", "'other'", "'localhost'", "'here'", "workers.solo"):
        assert said in message
    assert "simulate.failure_rate" in message


def numbers(section: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Walk all settings that are numbers, with their dotted names."""
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        if isinstance(value, msgspec.Struct):
            yield from numbers(value, f"{prefix}{field.name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{field.name}", value


NUMBERS = list(numbers(Settings()))


@pytest.mark.parametrize(("name", "default"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_no_number_is_taken_that_makes_no_sense(name: str, default: float) -> None:
    path = name.replace(".", "__")
    senseless = [-1] if isinstance(default, int) else [-1.0, math.nan, math.inf]
    for value in senseless:
        assert name in refusal(changed(**{path: value})), f"{name} = {value}"


def test_the_walk_over_the_numbers_finds_them() -> None:
    assert {"port", "stop_s", "workers.solo", "downloads.redirects"} <= {name for name, _ in NUMBERS}


def test_settings_are_safe_out_of_the_box() -> None:
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.port == 8080
    assert settings.outbound.allow == []
    assert (settings.workers.shared_slots, settings.workers.solo) == (200, 16)
    assert (settings.workers.suspect_s, settings.workers.blocked_kill_s) == (5, 30)


def test_the_stop_ladder_takes_its_times_from_the_settings() -> None:
    assert Settings().stop_times == StopTimes()
    assert changed(stop_s=60.0, kill_after_s=2.0).stop_times == StopTimes(stop_s=60, kill_after_s=2)


def test_a_worker_is_told_what_it_needs_and_no_more() -> None:
    settings = changed(
        outbound__allow=["127.0.0.0/8"], downloads__redirects=2, simulate__failure_rate=0.5, data="/secret"
    )
    told = settings.for_workers
    assert isinstance(told, WorkerSettings)
    assert (told.outbound, told.downloads, told.simulate) == (settings.outbound, settings.downloads, settings.simulate)
    assert b"secret" not in msgspec.json.encode(told)


def test_what_a_worker_is_told_survives_the_way_there() -> None:
    told = changed(simulate__duration_s=[1.0, 2.0]).for_workers
    assert msgspec.convert(msgspec.to_builtins(told), WorkerSettings) == told


@pytest.mark.parametrize("key", ["prot", "workers.sollo", "outbound.allowed"])
def test_a_key_that_is_no_setting_is_refused(key: str) -> None:
    first, _, last = key.partition(".")
    tree = {first: {last: 1}} if last else {first: 1}
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(tree, Settings)

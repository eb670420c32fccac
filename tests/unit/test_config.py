"""What settings can be used, and what is said of those that cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from windlass.config.load import load_settings
from windlass.config.schema import Settings, WorkerSettings, validate
from windlass.core.stop import StopTimes
from windlass.errors import ConfigError

NOWHERE = Path("/nowhere")


def changed(**changes: Any) -> Settings:
    """Load settings in which `section__name` is changed."""
    flags: dict[str, Any] = {}
    for path, value in changes.items():
        *sections, last = path.split("__")
        here = flags
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value
    return load_settings(flags, environ={}, directory=NOWHERE)


def refusal(**changes: Any) -> str:
    """Give the message with which such settings are refused."""
    with pytest.raises(ConfigError) as refused:
        changed(**changes)
    assert refused.value.code == "config_error"
    return refused.value.detail


BROKEN: list[tuple[str, Any, str]] = [
    ("host", "", "must be text that is not empty, not ''"),
    ("data", "", "must be text that is not empty, not ''"),
    ("port", -1, "must be a whole number from 0 to 65535, not -1"),
    ("port", 65_536, "must be a whole number from 0 to 65535, not 65536"),
    ("port", 80.5, "must be a whole number from 0 to 65535, not 80.5"),
    ("port", True, "must be a whole number from 0 to 65535, not true"),
    ("stop_s", 0.0, "must be a number above 0, at most 86400, not 0.0"),
    ("stop_s", 86_401, "must be a number above 0, at most 86400"),
    ("kill_after_s", 0.0, "must be a number above 0"),
    ("body_bytes", 1_023, "must be a whole number from 1024 to 8388608"),
    ("body_bytes", 8_388_609, "must be a whole number from 1024 to 8388608"),
    ("log_level", "loud", "must be one of debug, error, info, warning, not 'loud'"),
    ("log_level", "INFO", "must be one of debug, error, info, warning, not 'INFO'"),
    ("log_format", "xml", "must be one of auto, console, json, not 'xml'"),
    ("database", "mysql", "there is no such store: write sqlite, memory, or postgresql://"),
    ("lease__ttl_s", 0.5, "must be a number from 1 to 86400"),
    ("apps", ["tasks"], "'tasks' names no app: write MODULE:APP, for example tasks:app"),
    ("apps", [":app"], "':app' names no app"),
    ("apps", ["tasks:app", "tasks:"], "'tasks:' names no app"),
    ("workers__shared_slots", 0, "must be a whole number from 1 to 10000"),
    ("workers__shared_slots", 10_001, "must be a whole number from 1 to 10000"),
    ("workers__solo", 0, "must be a whole number from 1 to 256"),
    ("workers__solo", 257, "must be a whole number from 1 to 256"),
    ("workers__builtin_slots", 0, "must be a whole number from 1 to 10000"),
    ("workers__builtin_slots", 10_001, "must be a whole number from 1 to 10000"),
    ("workers__hello_s", 0.0, "must be a number above 0"),
    ("workers__suspect_s", 0.0, "must be a number above 0"),
    ("workers__suspect_s", 30.0, "workers.suspect_s (30) must be below workers.blocked_kill_s (30)"),
    ("workers__blocked_kill_s", 5.0, "workers.suspect_s (5) must be below workers.blocked_kill_s (5)"),
    ("workers__nice", 20, "must be a whole number from 0 to 19"),
    ("outbound__allow", ["10.0.0.0/33"], "'10.0.0.0/33' is no network"),
    ("outbound__allow", ["10.0.0.1/8"], "'10.0.0.1/8' is no network"),
    ("outbound__allow", ["localhost"], "'localhost' is no network"),
    ("downloads__files_at_once", 0, "must be a whole number from 1 to 100"),
    ("downloads__files_at_once", 101, "must be a whole number from 1 to 100"),
    ("downloads__redirects", 21, "must be a whole number from 0 to 20"),
    ("downloads__connect_s", 0.0, "must be a number above 0"),
    ("downloads__headers_s", 0.0, "must be a number above 0"),
    ("downloads__low_speed_s", 0.5, "must be a number from 1 to 86400"),
    ("downloads__stall_s", 0.0, "must be a number above 0"),
    ("downloads__max_bytes", 0, "must be a whole number from 1"),
    ("downloads__max_bytes", 10**40, "must be a whole number from 1"),
    ("simulate__failure_rate", 1.01, "must be a number from 0 to 1, or none, not 1.01"),
    ("simulate__failure_rate", -0.01, "must be a number from 0 to 1, or none"),
    ("simulate__duration_s", [], "must be a list of 1 to 2 numbers from 0"),
    ("simulate__duration_s", [1.0, 2.0, 3.0], "must be a list of 1 to 2 numbers from 0"),
    ("simulate__duration_s", [2.0, 1.0], "the shorter end of the range must come first"),
    ("simulate__duration_s", [-1.0], "must be a list of 1 to 2 numbers from 0"),
    ("simulate__duration_s", [1.0, math.nan], "must be a list of 1 to 2 numbers"),
    ("simulate__duration_s", [math.nan, 1.0], "must be a list of 1 to 2 numbers"),
    ("simulate__duration_s", [1.0, math.inf], "must be a list of 1 to 2 numbers"),
    ("cors_origins", ["example.org"], "'example.org' is no origin: write scheme, host and port alone"),
    ("cors_origins", ["https://example.org/"], "'https://example.org/' is no origin"),
    ("cors_origins", ["*"], "'*' is no origin"),
    ("cors_origins", ["null"], "'null' is no origin"),
    ("dialects__enabled", ["uploads"], "must be a list out of check_result, downloads, enqueue, tasktrack, workmate"),
    ("dialects__auth", "auto", "must be one of key, off"),
    ("dialects__workmate__kind", "", "must be text that is not empty"),
    ("dialects__workmate__duration_s", [2.0, 1.0], "the shorter end of the range must come first"),
    ("dialects__enqueue__duration_s", [], "must be a list of 1 to 2 numbers"),
    ("dialects__enqueue__capacity", 0, "must be a whole number from 1 to 10000000, not 0"),
    ("dialects__check_result__timeout_s", 0, "must be a number above 0, at most 2592000"),
]


@pytest.mark.parametrize(("path", "value", "said"), BROKEN, ids=[f"{path}={value}" for path, value, _ in BROKEN])
def test_a_setting_that_cannot_be_used_is_named_with_its_rule(path: str, value: Any, said: str) -> None:
    message = refusal(**{path: value})
    assert message.startswith(f"{path.replace('__', '.')} (the command line): {said}")
    assert "\n" not in message


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
        ("cors_origins", ["https://app.example.org", "http://192.0.2.7:3000", "http://[::1]:3000"]),
        ("dialects__enabled", []),
        ("dialects__enabled", ["enqueue"]),
        ("dialects__tasktrack__duration_s", [0.0]),
    ],
)
def test_a_setting_within_its_bounds_is_taken(path: str, value: Any) -> None:
    found: Any = changed(**{path: value})
    for name in path.split("__"):
        found = getattr(found, name)
    assert found == value


def test_the_defaults_can_be_used() -> None:
    assert list(validate(Settings())) == []
    assert msgspec.convert(msgspec.to_builtins(Settings()), Settings) == changed() == Settings()


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal(
        port=-1,
        log_level="loud",
        database="mysql",
        apps=["tasks", "other"],
        outbound__allow=["localhost", "here"],
        workers__solo=0,
        simulate__failure_rate=2.0,
    )
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
        assert refusal(**{path: value}).startswith(f"{name} ("), f"{name} = {value}"


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

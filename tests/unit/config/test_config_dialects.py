"""The settings of the dialects: their two spellings, their defaults, and the variables of other services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from load_cases import Load, LoadWithOrigins, refusal

from windlass.config.schema import Settings
from windlass.core.queue import QueueDefaults

ALL = ["downloads", "workmate", "check_result", "tasktrack", "enqueue"]


# ── which are served ───────────────────────────────────────────────


def test_all_are_served_until_somebody_says_otherwise(load: Load):
    assert load().dialects.enabled == ALL


@pytest.mark.parametrize(
    "sources",
    [
        {"toml": 'dialects = ["enqueue", "workmate"]'},
        {"toml": '[dialects]\nenabled = ["enqueue", "workmate"]'},
        {"env": "WINDLASS_DIALECTS=enqueue, workmate"},
        {"environ": {"WINDLASS_DIALECTS": "enqueue,workmate"}},
        {"environ": {"WINDLASS_DIALECTS__ENABLED": "enqueue,workmate"}},
    ],
)
def test_the_list_may_be_written_in_short_or_in_its_section(load: Load, sources: dict[str, Any]):
    assert load(**sources).dialects.enabled == ["enqueue", "workmate"]


def test_the_list_may_be_narrowed_while_a_section_says_more(load: Load):
    settings = load(
        toml="[dialects.workmate]\nduration_s = [0.1, 0.2]\nfailure_rate = 0.0",
        environ={"WINDLASS_DIALECTS": "workmate", "WINDLASS_DIALECTS__WORKMATE__CONCURRENCY": "3"},
    )
    assert settings.dialects.enabled == ["workmate"]
    workmate = settings.dialects.workmate
    assert (workmate.duration_s, workmate.failure_rate, workmate.concurrency) == ([0.1, 0.2], 0.0, 3)


def test_an_empty_list_serves_none(load: Load):
    assert load(environ={"WINDLASS_DIALECTS": ""}).queue_defaults == []


def test_an_unknown_dialect_is_refused_with_those_there_are(load: Load):
    said = refusal(load, environ={"WINDLASS_DIALECTS": "downloads,uploads"})
    assert said.startswith("dialects.enabled (WINDLASS_DIALECTS in the environment): must be a list out of")
    assert "check_result, downloads, enqueue, tasktrack, workmate" in said


def test_both_spellings_at_once_are_refused(load: Load):
    names = {"WINDLASS_DIALECTS": "enqueue", "WINDLASS_DIALECTS__ENABLED": "enqueue"}
    assert "is set by WINDLASS_DIALECTS too: keep one of them" in refusal(load, environ=names)


def test_a_misspelt_setting_of_a_dialect_is_named_with_the_nearest(load: Load):
    said = refusal(load, toml="[dialects.enqueue]\ncapacty = 8")
    assert "did you mean dialects.enqueue.capacity?" in said


# ── their queues ───────────────────────────────────────────────────


def test_each_has_a_queue_of_its_name_with_its_limits(load: Load):
    assert load().queue_defaults == [
        QueueDefaults(name="downloads", concurrency=64, capacity=100),
        QueueDefaults(name="workmate", concurrency=16, capacity=10_000),
        QueueDefaults(name="check_result", concurrency=100, capacity=10_000),
        QueueDefaults(name="tasktrack", concurrency=16, capacity=10_000),
        QueueDefaults(name="enqueue", concurrency=4, capacity=64),
    ]


def test_a_dialect_that_is_not_served_has_no_queue(load: Load):
    settings = load(environ={"WINDLASS_DIALECTS": "enqueue", "WORKERS": "2", "QUEUE_SIZE": "3"})
    assert settings.queue_defaults == [QueueDefaults(name="enqueue", concurrency=2, capacity=3)]


def test_the_built_in_worker_has_room_for_all_that_the_queues_let_run_at_once():
    settings = Settings()
    at_once = sum(queue.concurrency or 0 for queue in settings.queue_defaults)
    assert at_once <= settings.workers.builtin_slots


# ── variables of other services ────────────────────────────────────

BORROWED: list[tuple[str, str, Callable[[Settings], Any], Any]] = [
    ("HTTP_HOST", "0.0.0.0", lambda settings: settings.host, "0.0.0.0"),
    ("HTTP_PORT", "9090", lambda settings: settings.port, 9090),
    ("LOG_LEVEL", "debug", lambda settings: settings.log_level, "debug"),
    ("LOG_LEVEL", "WARN", lambda settings: settings.log_level, "warning"),
    ("LOG_LEVEL", "Error", lambda settings: settings.log_level, "error"),
    ("APP_MODE", "debug", lambda settings: (settings.log_level, settings.log_format), ("debug", "console")),
    ("APP_MODE", "release", lambda settings: (settings.log_level, settings.log_format), ("info", "auto")),
    ("WORKERS", "7", lambda settings: settings.dialects.enqueue.concurrency, 7),
    ("QUEUE_SIZE", "9", lambda settings: settings.dialects.enqueue.capacity, 9),
]


@pytest.mark.parametrize(("variable", "text", "read", "value"), BORROWED)
def test_a_variable_of_another_service_is_read_from_the_environment_and_from_env(
    load: Load, variable: str, text: str, read: Callable[[Settings], Any], value: Any
):
    assert read(load(environ={variable: text})) == value
    assert read(load(env=f"{variable}={text}\n")) == value


OURS = [
    ("HTTP_PORT", "WINDLASS_PORT", "port", "9001", "9002"),
    ("LOG_LEVEL", "WINDLASS_LOG_LEVEL", "log_level", "debug", "error"),
    ("APP_MODE", "WINDLASS_LOG_LEVEL", "log_level", "debug", "error"),
    ("QUEUE_SIZE", "WINDLASS_DIALECTS__ENQUEUE__CAPACITY", "dialects.enqueue.capacity", "1", "2"),
]


@pytest.mark.parametrize(("theirs", "ours", "setting", "weak", "strong"), OURS)
def test_a_name_of_ours_wins_wherever_it_stands(
    load_both: LoadWithOrigins, theirs: str, ours: str, setting: str, weak: str, strong: str
):
    for sources in (
        {"environ": {theirs: weak, ours: strong}},
        {"env": f"{ours}={strong}", "environ": {theirs: weak}},
        {"env": f"{theirs}={weak}", "environ": {ours: strong}},
        {"env": f"{ours}={strong}\n{theirs}={weak}"},
    ):
        assert ours in str(load_both(**sources).origins[setting]), sources


def test_they_win_over_the_file_of_settings_and_the_environment_over_env(load_both: LoadWithOrigins):
    loaded = load_both(toml="port = 1", env="HTTP_PORT=2", environ={"HTTP_PORT": "3"})
    assert loaded.settings.port == 3
    assert str(loaded.origins["port"]) == "HTTP_PORT in the environment"
    assert load_both(toml="port = 1", env="HTTP_PORT=2", environ={}).settings.port == 2
    assert load_both({"port": 4}, environ={"HTTP_PORT": "3"}).settings.port == 4


def test_a_level_wins_over_the_mode_that_brings_one(load: Load):
    both: list[dict[str, Any]] = [
        {"environ": {"APP_MODE": "debug", "LOG_LEVEL": "error"}},
        {"env": "LOG_LEVEL=error\nAPP_MODE=debug"},
    ]
    for sources in both:
        settings = load(**sources)
        assert (settings.log_level, settings.log_format) == ("error", "console")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "none", "0x10"])
@pytest.mark.parametrize(
    ("variable", "setting"),
    [("WORKERS", "dialects.enqueue.concurrency"), ("QUEUE_SIZE", "dialects.enqueue.capacity")],
)
def test_what_is_no_positive_integer_stops_the_start_and_names_the_variable(
    load: Load, variable: str, setting: str, text: str
):
    assert refusal(load, environ={variable: text}).startswith(f"{setting} ({variable} in the environment): ")
    assert refusal(load, env=f"{variable}={text}").startswith(f"{setting} ({variable} in .env, line 1): ")


def test_words_that_nobody_knows_stop_the_start_and_name_the_variable(load: Load):
    said = refusal(load, environ={"APP_MODE": "production", "LOG_LEVEL": "loud", "HTTP_PORT": "http"})
    assert "APP_MODE in the environment: must be one of debug, release, not 'production'" in said
    assert "log_level (LOG_LEVEL in the environment): must be one of debug, error, info, warning, not 'loud'" in said
    assert "port (HTTP_PORT in the environment): must be a whole number from 0 to 65535, not 'http'" in said


def test_a_line_of_env_that_gives_no_value_is_refused(load: Load):
    assert "QUEUE_SIZE in .env, line 2" in refusal(load, env="A=1\nQUEUE_SIZE='8")
    assert "WORKERS in .env, line 1" in refusal(load, env="WORKERS 4")

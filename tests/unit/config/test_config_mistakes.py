"""What is said of mistakes in the settings: all of them, each with its setting, its source and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from load_cases import Load, refusal

from windlass.errors import ConfigError

MISSPELT: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": "prot = 1\n"}),
    ("WINDLASS_PROT in .env, line 1", {"env": "WINDLASS_PROT=1\n"}),
    ("WINDLASS_PROT in the environment", {"environ": {"WINDLASS_PROT": "1"}}),
    ("the command line", {"flags": {"prot": 1}}),
]
MISSPELT_INSIDE: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": "[workers]\nsollo = 1\n"}),
    ("WINDLASS_WORKERS__SOLLO in .env, line 1", {"env": "WINDLASS_WORKERS__SOLLO=1\n"}),
    ("WINDLASS_WORKERS__SOLLO in the environment", {"environ": {"WINDLASS_WORKERS__SOLLO": "1"}}),
    ("the command line", {"flags": {"workers": {"sollo": 1}}}),
]
MISTYPED: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": 'port = "many"\n'}),
    ("WINDLASS_PORT in .env, line 1", {"env": "WINDLASS_PORT=many\n"}),
    ("WINDLASS_PORT in the environment", {"environ": {"WINDLASS_PORT": "many"}}),
    ("the command line", {"flags": {"port": "many"}}),
]


def named(cases: list[tuple[str, dict[str, Any]]]) -> Any:
    return pytest.mark.parametrize(("source", "given"), cases, ids=[source for source, _ in cases])


@named(MISSPELT)
def test_a_name_no_setting_has_is_refused_with_its_source_and_the_nearest(
    load: Load, source: str, given: dict[str, Any]
):
    near = "WINDLASS_PORT" if "WINDLASS" in source else "port"
    assert refusal(load, **given) == f"prot ({source}): no setting has this name; did you mean {near}?"


@named(MISSPELT_INSIDE)
def test_a_name_no_setting_of_a_section_has_is_refused_with_the_nearest_of_that_section(
    load: Load, source: str, given: dict[str, Any]
):
    near = "WINDLASS_WORKERS__SOLO" if "WINDLASS" in source else "workers.solo"
    assert refusal(load, **given) == f"workers.sollo ({source}): no setting has this name; did you mean {near}?"


@named(MISTYPED)
def test_a_value_of_the_wrong_type_is_refused_with_its_source_and_its_name(
    load: Load, source: str, given: dict[str, Any]
):
    assert refusal(load, **given) == f"port ({source}): must be a whole number from 0 to 65535, not 'many'"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("WINDLASS_WORKERS_SOLO", "WINDLASS_WORKERS__SOLO"),
        ("WINDLASS_WORKERS.SOLO", "WINDLASS_WORKERS__SOLO"),
        ("WINDLASS_WORKER__SOLO", "WINDLASS_WORKERS__SOLO"),
        ("WINDLASS_SOLO", "WINDLASS_WORKERS__SOLO"),
        ("WINDLASS_LOGLEVEL", "WINDLASS_LOG_LEVEL"),
    ],
)
def test_what_is_often_miswritten_is_recognised(load: Load, variable: str, meant: str):
    assert refusal(load, environ={variable: "3"}).endswith(f"did you mean {meant}?")


@pytest.mark.parametrize("toml", ["[worker]\nsolo = 1\n", "worker.solo = 1\n"])
def test_a_misspelt_section_is_refused_once_with_the_nearest(load: Load, toml: str):
    assert refusal(load, toml=toml) == "worker (windlass.toml): no setting has this name; did you mean workers?"


def test_a_quoted_key_with_a_dot_is_not_the_setting_it_looks_like(load: Load):
    message = refusal(load, toml='"workers.solo" = 1\n')
    assert message == "workers.solo (windlass.toml): no setting has this name; did you mean workers.solo?"


def test_a_name_like_no_other_is_refused_without_a_guess(load: Load):
    message = refusal(load, environ={"WINDLASS_QQQQ": "1"})
    assert message == "qqqq (WINDLASS_QQQQ in the environment): no setting has this name; leave it out"


@pytest.mark.parametrize("name", ["", "_", "__", "WORKERS__", "__PORT", "PORT__", "WORKERS__SOLO__MORE"])
def test_a_name_with_parts_too_few_or_too_many_is_refused(load: Load, name: str):
    assert f"WINDLASS_{name} in the environment" in refusal(load, environ={f"WINDLASS_{name}": "1"})


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "environ",
    [
        {"WINDLASS_PORT": "1", "WINDLASS_PORT__NUMBER": "1"},
        {"WINDLASS_WORKERS": "5", "WINDLASS_WORKERS__SOLO": "3"},
        {"WINDLASS_APPS": "a:b", "WINDLASS_APPS__FIRST": "a:b"},
        {"WINDLASS_WORKERS__SOLO": "3", "WINDLASS_WORKERS__SOLO__MIN": "1"},
    ],
)
def test_a_name_that_is_a_value_and_a_section_is_refused_in_any_order(
    load: Load, environ: dict[str, str], reverse: bool
):
    given = dict(reversed(environ.items())) if reverse else environ
    message = refusal(load, environ=given)
    assert "the environment" in message
    assert next(iter(environ)).removeprefix("WINDLASS_").lower().replace("__", ".") in message


def test_two_variables_for_one_setting_are_refused(load: Load):
    message = refusal(load, environ={"WINDLASS_port": "1", "WINDLASS_PORT": "2"})
    assert message == "port (WINDLASS_port in the environment): is set by WINDLASS_PORT too: keep one of them"


IS_A_SECTION = "is a section: give values to the settings in it, such as"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"environ": {"WINDLASS_WORKERS": "5"}},
            f"workers (WINDLASS_WORKERS in the environment): {IS_A_SECTION} WINDLASS_WORKERS__SHARED_SLOTS",
        ),
        ({"toml": "workers = 5\n"}, f"workers (windlass.toml): {IS_A_SECTION} workers.shared_slots"),
        ({"toml": "[[workers]]\nsolo = 1\n"}, f"workers (windlass.toml): {IS_A_SECTION} workers.shared_slots"),
        ({"toml": "[port]\nnumber = 1\n"}, "port (windlass.toml): must be a whole number from 0 to 65535, not {"),
        ({"toml": 'port = "8080"\n'}, "port (windlass.toml): must be a whole number from 0 to 65535, not '8080'"),
        ({"toml": "data = 5\n"}, "data (windlass.toml): must be text that is not empty, not 5"),
        ({"toml": 'apps = "a:b"\n'}, "apps (windlass.toml): must be a list of text, not 'a:b'"),
        ({"toml": "apps = [1]\n"}, "apps (windlass.toml): must be a list of text, not [1]"),
        (
            {"environ": {"WINDLASS_SIMULATE__DURATION_S": "1,soon"}},
            "simulate.duration_s (WINDLASS_SIMULATE__DURATION_S in the environment): must be a list of 1 to 2 numbers",
        ),
        (
            {"environ": {"WINDLASS_WORKERS__SOLO": "1.5"}, "toml": "[workers]\nsolo = 2\n"},
            "workers.solo (WINDLASS_WORKERS__SOLO in the environment): must be a whole number from 1 to 256, not '1.5'",
        ),
        (
            {"environ": {"WINDLASS_PORT": "70000"}},
            "port (WINDLASS_PORT in the environment): must be a whole number from 0 to 65535, not '70000'",
        ),
        (
            {"env": "\nWINDLASS_APPS=tasks\n"},
            "apps (WINDLASS_APPS in .env, line 2): 'tasks' names no app: write MODULE:APP",
        ),
        (
            {"toml": "[workers]\nblocked_kill_s = 2\n"},
            "workers.blocked_kill_s (windlass.toml): workers.suspect_s (5) must be below workers.blocked_kill_s (2)",
        ),
        ({"environ": {"WINDLASS_PORT": "9" * 5000}}, "port (WINDLASS_PORT in the environment): must be a whole number"),
    ],
)
def test_a_value_that_cannot_be_used_names_the_setting_and_where_it_came_from(
    load: Load, given: dict[str, Any], said: str
):
    message = refusal(load, **given)
    assert message.startswith(said)
    assert len(message) < 300


@pytest.mark.parametrize("name", ["HOST", "PORT", "DATA", "STOP_S", "LOG_LEVEL", "WORKERS__SOLO"])
def test_an_empty_value_is_refused_by_the_name_of_its_variable(load: Load, name: str):
    for value in ("", "  "):
        message = refusal(load, environ={f"WINDLASS_{name}": value})
        assert f"(WINDLASS_{name} in the environment): is empty, but must be" in message
    message = refusal(load, env=f"WINDLASS_{name}=\n")
    assert f"(WINDLASS_{name} in .env, line 1): is empty, but must be" in message


def test_a_value_that_a_stronger_source_overrides_is_not_judged(load: Load):
    assert load({"port": 9000}, environ={"WINDLASS_PORT": "many"}, toml="port = []\n").port == 9000


def test_all_mistakes_of_all_sources_are_told_together(load: Load):
    with pytest.raises(ConfigError) as refused:
        load(
            {"workers": {"solo": 1000}},
            environ={"WINDLASS_PROT": "1", "WINDLASS_STOP_S": "soon"},
            env="WINDLASS_DATA='x\nWINDLASS_OUTBOUND__ALLOW=here,there\n",
            toml="[worker]\nsolo = 1\n[workers]\nnice = 20\n",
        )
    heading, *lines = refused.value.detail.split("\n")
    problems = refused.value.details["problems"]
    assert heading == "the settings have 8 mistakes:"
    assert lines == [f"  {setting} ({source}): {problem}" for setting, source, problem in problems]
    assert [(setting, source) for setting, source, _ in problems] == [
        ("worker", "windlass.toml"),
        ("data", "WINDLASS_DATA in .env, line 1"),
        ("prot", "WINDLASS_PROT in the environment"),
        ("stop_s", "WINDLASS_STOP_S in the environment"),
        ("workers.solo", "the command line"),
        ("workers.nice", "windlass.toml"),
        ("outbound.allow", "WINDLASS_OUTBOUND__ALLOW in .env, line 2"),
        ("outbound.allow", "WINDLASS_OUTBOUND__ALLOW in .env, line 2"),
    ]


def test_one_mistake_is_told_in_one_line_and_kept_for_programs(load: Load):
    with pytest.raises(ConfigError) as refused:
        load(environ={"WINDLASS_PORT": "-1"})
    assert refused.value.details["problems"] == (
        ("port", "WINDLASS_PORT in the environment", "must be a whole number from 0 to 65535, not '-1'"),
    )
    assert "\n" not in refused.value.detail


def test_a_file_that_cannot_be_read_hides_no_other_mistake(load: Load):
    message = refusal(load, toml="port = ", env=b"\xff", environ={"WINDLASS_HOST": ""})
    assert [line.split(":")[0].strip() for line in message.split("\n")[1:]] == [
        "windlass.toml",
        ".env",
        "host (WINDLASS_HOST in the environment)",
    ]


def test_a_rule_about_a_value_that_could_not_be_read_is_not_told_besides(load: Load):
    message = refusal(load, toml='[workers]\nsuspect_s = 40\nblocked_kill_s = "never"\n')
    assert message.startswith("workers.blocked_kill_s (windlass.toml): must be a number")
    assert "\n" not in message


@pytest.mark.parametrize(
    "toml",
    [
        "port = ",
        "port 8080",
        "[workers\n",
        "port = 1\nport = 2\n",
        "port = 08080\n",
        b"data = '\xff'\n",
        f"port = {'[' * 5000}",
        f"port = {'9' * 5000}",
    ],
    ids=lambda toml: repr(toml)[:20],
)
def test_a_file_that_is_no_toml_is_refused_by_name(load: Load, toml: str | bytes):
    assert refusal(load, toml=toml).startswith("windlass.toml: is no TOML: ")


def test_an_env_file_that_is_no_text_is_refused_by_name(load: Load):
    assert refusal(load, env=b"WINDLASS_DATA=\xff\n").startswith(".env: is no UTF-8 text: ")


def test_a_directory_in_the_place_of_the_settings_file_is_refused_by_name(load: Load, tmp_path: Path):
    (tmp_path / "windlass.toml").mkdir()
    assert refusal(load).startswith("windlass.toml: cannot be read (Is a directory): ")


def test_a_virtual_environment_called_env_is_passed_over(load: Load, tmp_path: Path):
    (tmp_path / ".env").mkdir()
    assert load().port == 8080


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WINDLASS_SERVICE", "10.0.171.239"),
        ("WINDLASS_SERVICE_HOSTS", "10.0.171.239"),
        ("WINDLASS_SERVICE_PORTS", "8080"),
        ("WINDLASS_service_host", "10.0.171.239"),
        ("WINDLASS_PORT", "tcp://10.0.171.239"),
        ("WINDLASS_PORT", "http://10.0.171.239:8080"),
        ("WINDLASS_PORT_TCP", "8080"),
        ("WINDLASS_PORT_8080", "8080"),
        ("WINDLASS_PORT_8080_TCP_HOST", "10.0.171.239"),
        ("WINDLASS_HTTP_PORT", "8080"),
    ],
)
def test_what_only_looks_like_it_is_refused(load: Load, variable: str, value: str):
    assert f"({variable} in the environment)" in refusal(load, environ={variable: value})


def test_in_an_env_file_nothing_is_put_by_kubernetes(load: Load):
    assert "(WINDLASS_PORT in .env, line 1)" in refusal(load, env="WINDLASS_PORT=tcp://10.0.171.239:8080\n")

"""Settings gathered from flags, the environment, `.env` and `windlass.toml`: who wins, and what is said of mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windlass.config.load import load_settings
from windlass.config.schema import Settings
from windlass.errors import ConfigError

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Give what loads settings from the sources a test names, and from no others."""

    def loaded(
        flags: dict[str, Any] | None = None,
        *,
        environ: dict[str, str] | None = None,
        env: str | bytes | None = None,
        toml: str | bytes | None = None,
    ) -> Settings:
        for name, text in ((".env", env), ("windlass.toml", toml)):
            if text is not None:
                (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return load_settings(flags or {}, environ=environ or {}, directory=tmp_path)

    return loaded


def refusal(load: Load, *args: Any, **sources: Any) -> str:
    """Give the message with which the settings are refused."""
    with pytest.raises(ConfigError) as refused:
        load(*args, **sources)
    assert refused.value.code == "config_error"
    return refused.value.detail


# ── who wins ───────────────────────────────────────────────────────

SOURCES: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": "port = 1001\n[workers]\nsolo = 11\n"}),
    (".env", {"env": "WINDLASS_PORT=1002\nWINDLASS_WORKERS__SOLO=12\n"}),
    ("the environment", {"environ": {"WINDLASS_PORT": "1003", "WINDLASS_WORKERS__SOLO": "13"}}),
    ("the command line", {"flags": {"port": 1004, "workers": {"solo": 14}}}),
]


def test_without_any_source_the_defaults_hold(load: Load):
    assert load() == Settings()


@pytest.mark.parametrize("present", range(1, 16))
def test_of_any_sources_the_strongest_wins(load: Load, present: int):
    given: dict[str, Any] = {}
    strongest = 0
    for rank, (_, source) in enumerate(SOURCES):
        if present & 1 << rank:
            given |= source
            strongest = rank
    settings = load(**given)
    assert (settings.port, settings.workers.solo) == (1001 + strongest, 11 + strongest)


def test_sections_are_merged_name_by_name(load: Load):
    settings = load(
        {"workers": {"solo": 3}},
        environ={"WINDLASS_WORKERS__NICE": "7"},
        env="WINDLASS_WORKERS__HELLO_S=9.5\nWINDLASS_WORKERS__NICE=1\n",
        toml="[workers]\nshared_slots = 50\nhello_s = 1\n[downloads]\nredirects = 2\n",
    )
    workers = settings.workers
    assert (workers.solo, workers.nice, workers.hello_s, workers.shared_slots) == (3, 7, 9.5, 50)
    assert workers.builtin_slots == Settings().workers.builtin_slots
    assert settings.downloads.redirects == 2


def test_a_flag_that_is_not_given_hides_nothing(load: Load):
    flags = {"port": None, "apps": None, "workers": None}
    settings = load(flags, environ={"WINDLASS_PORT": "9000", "WINDLASS_APPS": "a:b"})
    assert (settings.port, settings.apps) == (9000, ["a:b"])


def test_the_real_environment_and_directory_are_read_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("WINDLASS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WINDLASS_HOST", "0.0.0.0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("WINDLASS_PORT=8081")
    settings = load_settings({})
    assert (settings.host, settings.port) == ("0.0.0.0", 8081)


def test_loading_changes_none_of_its_sources(load: Load):
    flags = {"workers": {"solo": 3}}
    environ = {"WINDLASS_WORKERS__NICE": "7"}
    load(flags, environ=environ, toml="[workers]\nsolo = 1\n")
    assert (flags, environ) == ({"workers": {"solo": 3}}, {"WINDLASS_WORKERS__NICE": "7"})


# ── how values are written ─────────────────────────────────────────


@pytest.mark.parametrize(
    ("variable", "value", "path", "wanted"),
    [
        ("WINDLASS_PORT", "0", "port", 0),
        ("WINDLASS_STOP_S", "1.5", "stop_s", 1.5),
        ("WINDLASS_STOP_S", "30", "stop_s", 30.0),
        ("WINDLASS_DATA", "/var/lib/windlass", "data", "/var/lib/windlass"),
        ("WINDLASS_DATA", "5", "data", "5"),
        ("WINDLASS_APPS", "tasks:app", "apps", ["tasks:app"]),
        ("WINDLASS_APPS", "tasks:app, more.tasks:app ,", "apps", ["tasks:app", "more.tasks:app"]),
        ("WINDLASS_APPS", "", "apps", []),
        ("WINDLASS_OUTBOUND__ALLOW", "127.0.0.0/8,::1/128", "outbound.allow", ["127.0.0.0/8", "::1/128"]),
        ("WINDLASS_SIMULATE__DURATION_S", "180,300", "simulate.duration_s", [180.0, 300.0]),
        ("WINDLASS_SIMULATE__DURATION_S", "2", "simulate.duration_s", [2.0]),
        ("WINDLASS_SIMULATE__FAILURE_RATE", "0.5", "simulate.failure_rate", 0.5),
        ("windlass_port", "8080", "port", 8080),
    ],
)
def test_a_variable_is_read_as_its_setting_is_meant(load: Load, variable: str, value: str, path: str, wanted: Any):
    variable = variable if variable.startswith("WINDLASS_") else "WINDLASS_port"
    for settings in (load(environ={variable: value}), load(env=f"{variable}={value}")):
        found: Any = settings
        for name in path.split("."):
            found = getattr(found, name)
        assert found == wanted


def test_a_list_of_a_stronger_source_replaces_the_whole_list(load: Load):
    settings = load(environ={"WINDLASS_APPS": "b:b"}, toml='apps = ["a:a", "c:c"]')
    assert settings.apps == ["b:b"]


def test_what_is_not_ours_is_left_alone(load: Load):
    environ = {"PATH": "/bin", "WINDLASS": "x", "XWINDLASS_PORT": "1", "OTHER_PORT": "2"}
    assert load(environ=environ, env="DATABASE_URL=x\nWINDLAS_PORT=1\n") == Settings()


def test_the_address_for_clients_is_no_setting_of_the_server(load: Load):
    url = "http://elsewhere:8080"
    assert load(environ={"WINDLASS_URL": url}, env=f"WINDLASS_URL={url}\n") == Settings()


ENV_FILE = """
# a comment
  # WINDLASS_PORT=1
WINDLASS_HOST = "::1"
export WINDLASS_PORT='9001'
WINDLASS_DATA=a=b=c
WINDLASS_LOG_LEVEL=debug\r
   WINDLASS_WORKERS__SOLO=4
a line without a sign
=
WINDLASS_STOP_S=5
WINDLASS_STOP_S=6
"""


def test_an_env_file_is_read_as_shells_write_it(load: Load):
    settings = load(env=ENV_FILE)
    assert (settings.host, settings.port, settings.data) == ("::1", 9001, "a=b=c")
    assert (settings.log_level, settings.workers.solo, settings.stop_s) == ("debug", 4, 6.0)


def test_an_env_file_may_begin_with_a_byte_order_mark(load: Load):
    assert load(env="\N{ZERO WIDTH NO-BREAK SPACE}WINDLASS_PORT=9002\n").port == 9002


# ── mistakes ───────────────────────────────────────────────────────

MISSPELT: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": "prot = 1\n"}),
    (".env", {"env": "WINDLASS_PROT=1\n"}),
    ("the environment", {"environ": {"WINDLASS_PROT": "1"}}),
    ("the command line", {"flags": {"prot": 1}}),
]
MISSPELT_INSIDE: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": "[workers]\nsollo = 1\n"}),
    (".env", {"env": "WINDLASS_WORKERS__SOLLO=1\n"}),
    ("the environment", {"environ": {"WINDLASS_WORKERS__SOLLO": "1"}}),
    ("the command line", {"flags": {"workers": {"sollo": 1}}}),
]
MISTYPED: list[tuple[str, dict[str, Any]]] = [
    ("windlass.toml", {"toml": 'port = "many"\n'}),
    (".env", {"env": "WINDLASS_PORT=many\n"}),
    ("the environment", {"environ": {"WINDLASS_PORT": "many"}}),
    ("the command line", {"flags": {"port": "many"}}),
]


def named(cases: list[tuple[str, dict[str, Any]]]) -> Any:
    return pytest.mark.parametrize(("source", "given"), cases, ids=[source for source, _ in cases])


@named(MISSPELT)
def test_a_name_no_setting_has_is_refused_with_its_source_and_the_nearest(
    load: Load, source: str, given: dict[str, Any]
):
    assert refusal(load, **given) == f"{source} sets prot, which is no setting of windlass; did you mean port?"


@named(MISSPELT_INSIDE)
def test_a_name_no_setting_of_a_section_has_is_refused_with_the_nearest_of_that_section(
    load: Load, source: str, given: dict[str, Any]
):
    assert (
        refusal(load, **given)
        == f"{source} sets workers.sollo, which is no setting of windlass; did you mean workers.solo?"
    )


@named(MISTYPED)
def test_a_value_of_the_wrong_type_is_refused_with_its_source_and_its_name(
    load: Load, source: str, given: dict[str, Any]
):
    message = refusal(load, **given)
    assert message.startswith(f"port (from {source}): ")
    assert "expected `int`" in message


def test_a_name_like_no_other_is_refused_without_a_guess(load: Load):
    message = refusal(load, environ={"WINDLASS_QQQQ": "1"})
    assert message == "the environment sets qqqq, which is no setting of windlass"


@pytest.mark.parametrize("name", ["", "_", "__", "WORKERS__", "__PORT", "PORT__", "WORKERS__SOLO__MORE"])
def test_a_name_with_parts_too_few_or_too_many_is_refused(load: Load, name: str):
    assert "the environment" in refusal(load, environ={f"WINDLASS_{name}": "1"})


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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"environ": {"WINDLASS_WORKERS": "5"}}, "the environment sets workers to a value, but it is a section"),
        ({"toml": "workers = 5\n"}, "windlass.toml sets workers to a value, but it is a section"),
        ({"toml": "[port]\nnumber = 1\n"}, "port (from windlass.toml): expected `int`"),
        ({"toml": "[[workers]]\nsolo = 1\n"}, "windlass.toml sets workers to a value, but it is a section"),
        ({"toml": "log_level = 5\n"}, "log_level (from windlass.toml): expected `str`"),
        ({"toml": 'apps = "a:b"\n'}, "apps (from windlass.toml): expected `array`"),
        ({"toml": "apps = [1]\n"}, "apps[0] (from windlass.toml): expected `str`"),
        (
            {"environ": {"WINDLASS_SIMULATE__DURATION_S": "1,soon"}},
            "simulate.duration_s[1] (from the environment): expected `float`",
        ),
        (
            {"environ": {"WINDLASS_WORKERS__SOLO": "1.5"}, "toml": "[workers]\nsolo = 2\n"},
            "workers.solo (from the environment): expected `int`",
        ),
        ({"env": "WINDLASS_WORKERS__SOLO=\n"}, "workers.solo (from .env): expected `int`"),
        ({"environ": {"WINDLASS_PORT": "70000"}}, "port must be from 0 (any free one) to 65535"),
    ],
)
def test_a_value_that_cannot_be_used_names_the_setting_and_where_it_came_from(
    load: Load, given: dict[str, Any], said: str
):
    assert said in refusal(load, **given).replace("[...]", "[1]" if "duration" in said else "[0]")


@pytest.mark.parametrize(
    "toml",
    ["port = ", "port 8080", "[workers\n", "port = 1\nport = 2\n", "port = 08080\n", b"data = '\xff'\n"],
    ids=repr,
)
def test_a_file_that_is_no_toml_is_refused_by_name(load: Load, toml: str | bytes):
    assert refusal(load, toml=toml).startswith("windlass.toml cannot be read: ")


def test_an_env_file_that_is_no_text_is_refused_by_name(load: Load):
    assert refusal(load, env=b"WINDLASS_DATA=\xff\n").startswith(".env cannot be read: ")


def test_a_directory_in_the_place_of_the_settings_file_is_refused_by_name(load: Load, tmp_path: Path):
    (tmp_path / "windlass.toml").mkdir()
    assert refusal(load).startswith("windlass.toml cannot be read: ")


def test_a_virtual_environment_called_env_is_passed_over(load: Load, tmp_path: Path):
    (tmp_path / ".env").mkdir()
    assert load().port == 8080

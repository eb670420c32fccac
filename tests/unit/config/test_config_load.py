"""Settings gathered from flags, the environment, `.env` and `windlass.toml`: who wins, and how values are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from load_cases import Load

from windlass.config.load import load_settings
from windlass.config.schema import Settings

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
        ("WINDLASS_port", "9001", "port", 9001),
        ("WINDLASS_PORT", " 9001\t", "port", 9001),
        ("WINDLASS_STOP_S", " 1.5 ", "stop_s", 1.5),
        ("WINDLASS_DATA", " /srv/my data ", "data", "/srv/my data"),
        ("WINDLASS_DATA", ",", "data", ","),
        ("WINDLASS_OUTBOUND__ALLOW", " , ", "outbound.allow", []),
        ("WINDLASS_SIMULATE__DURATION_S", " 1 , 2 ", "simulate.duration_s", [1.0, 2.0]),
        ("WINDLASS_SIMULATE__DURATION_S", "none", "simulate.duration_s", None),
        ("WINDLASS_SIMULATE__FAILURE_RATE", "None", "simulate.failure_rate", None),
    ],
)
def test_a_variable_is_read_as_its_setting_is_meant(load: Load, variable: str, value: str, path: str, wanted: Any):
    for settings in (load(environ={variable: value}), load(env=f"{variable}={value}")):
        found: Any = settings
        for name in path.split("."):
            found = getattr(found, name)
        assert found == wanted


def test_none_overrides_a_weaker_source(load: Load):
    settings = load(environ={"WINDLASS_SIMULATE__FAILURE_RATE": "none"}, toml="[simulate]\nfailure_rate = 1\n")
    assert settings.simulate.failure_rate is None


def test_a_list_of_a_stronger_source_replaces_the_whole_list(load: Load):
    settings = load(environ={"WINDLASS_APPS": "b:b"}, toml='apps = ["a:a", "c:c"]')
    assert settings.apps == ["b:b"]


def test_what_is_not_ours_is_left_alone(load: Load):
    environ = {"PATH": "/bin", "WINDLASS": "x", "XWINDLASS_PORT": "1", "OTHER_PORT": "2"}
    assert load(environ=environ, env="DATABASE_URL=x\nWINDLAS_PORT=1\n") == Settings()


@pytest.mark.parametrize("service", ["WINDLASS", "WINDLASS_POSTGRES_REPLICA2"])
def test_what_kubernetes_says_of_a_service_of_our_name_is_left_alone(load: Load, service: str):
    environ = {
        f"{service}_SERVICE_HOST": "10.0.171.239",
        f"{service}_SERVICE_PORT": "8080",
        f"{service}_SERVICE_PORT_HTTP_API": "8080",
        f"{service}_PORT": "tcp://10.0.171.239:8080",
        f"{service}_PORT_8080_TCP": "tcp://10.0.171.239:8080",
        f"{service}_PORT_8080_TCP_PROTO": "tcp",
        f"{service}_PORT_8080_TCP_PORT": "8080",
        f"{service}_PORT_8080_TCP_ADDR": "10.0.171.239",
        f"{service}_PORT_53_UDP": "udp://[fd00::1]:53",
    }
    assert load(environ=environ) == Settings()
    assert load(environ=environ, env="WINDLASS_PORT=9000\n").port == 9000


def test_the_address_for_clients_is_no_setting_of_the_server(load: Load):
    url = "http://elsewhere:8080"
    assert load(environ={"WINDLASS_URL": url}, env=f"WINDLASS_URL={url}\n") == Settings()


def test_a_file_may_begin_with_a_byte_order_mark(load: Load):
    assert load(env="\N{ZERO WIDTH NO-BREAK SPACE}WINDLASS_PORT=9002\n").port == 9002
    assert load(env="", toml="\N{ZERO WIDTH NO-BREAK SPACE}port = 9003\n").port == 9003

"""`windlass config show`: what a server would use here, and where that comes from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from command_runs import WINDLASS, Ended

from windlass.config.fields import fields_of
from windlass.config.schema import Settings

Run = Callable[..., Ended]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty directory, with no settings in the environment."""
    for name in [name for name in os.environ if name.startswith("WINDLASS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_setting_is_shown_with_its_value_and_meaning(run: Run, here: Path) -> None:
    ended = run("config", "show")
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert (ended.code, ended.err) == (0, "")
    assert [name for name, _, _ in rows] == list(fields_of(Settings))
    assert ["port", "8080", "Port to listen on; 0 takes any free one."] in rows
    assert ["stop_s", "28", fields_of(Settings)["stop_s"].description] in rows


def test_the_values_are_those_of_this_directory_and_environment(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "windlass.toml").write_text('host = "::1"\napps = ["a:b", "c:d"]\n[simulate]\nduration_s = [1, 2.5]\n')
    (here / ".env").write_text("\nWINDLASS_WORKERS__SOLO=3\n")
    monkeypatch.setenv("WINDLASS_PORT", "9000")
    rows = {line.split("\t")[0]: line.split("\t")[1:3] for line in run("config", "show", "--origin").out.splitlines()}
    assert rows["host"] == ["::1", "windlass.toml"]
    assert rows["apps"] == ["a:b,c:d", "windlass.toml"]
    assert rows["simulate.duration_s"] == ["1,2.5", "windlass.toml"]
    assert rows["simulate.failure_rate"] == ["none", "default"]
    assert rows["workers.solo"] == ["3", "WINDLASS_WORKERS__SOLO in .env, line 2"]
    assert rows["port"] == ["9000", "WINDLASS_PORT in the environment"]
    assert rows["data"] == ["data", "default"]


def test_as_json_a_setting_is_a_line_with_its_value_in_its_own_type(run: Run, here: Path) -> None:
    (here / ".env").write_text("WINDLASS_APPS=a:b\n")
    rows = [msgspec.json.decode(line) for line in run("config", "show", "--json").out.splitlines()]
    assert {"name": "apps", "value": ["a:b"], "description": fields_of(Settings)["apps"].description} in rows
    with_origins = [msgspec.json.decode(line) for line in run("config", "show", "--json", "--origin").out.splitlines()]
    assert [row["origin"] for row in with_origins if row["name"] == "apps"] == ["WINDLASS_APPS in .env, line 1"]
    assert [{key: row[key] for key in row if key != "origin"} for row in with_origins] == rows


def test_a_value_cannot_steer_the_terminal(run: Run, here: Path) -> None:
    (here / "windlass.toml").write_text('data = "a\\u001b[2J\\tb\\nc"\n')
    assert "data\ta\\x1b[2J\\tb\\nc\t" in run("config", "show").out


def test_on_a_terminal_settings_are_a_table_in_which_what_was_set_stands_out(
    on_terminal: Callable[..., tuple[int, str]], here: Path
) -> None:
    (here / "windlass.toml").write_text("port = 9000\n")
    code, said = on_terminal("config", "show", "--origin")
    heading, *rows = said.splitlines()
    assert code == 0
    assert [word in heading for word in ("SETTING", "VALUE", "ORIGIN", "MEANING")] == [True] * 4
    (port,) = (row for row in rows if "9000" in row)
    assert "\x1b[1m9000" in port
    assert "windlass.toml" in port
    (nice,) = (row for row in rows if row.startswith("workers.nice"))
    assert "\x1b[1m" not in nice


def test_mistakes_are_told_all_at_once_a_line_each(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "windlass.toml").write_text('prot = 1\n"a\\nb" = 2\n')
    monkeypatch.setenv("WINDLASS_STOP_S", "soon\x1b[2J")
    assert run("config", "show") == (
        1,
        "",
        "windlass: the settings have 3 mistakes:\n"
        "  prot (windlass.toml): no setting has this name; did you mean port?\n"
        "  a\\nb (windlass.toml): no setting has this name; leave it out\n"
        "  stop_s (WINDLASS_STOP_S in the environment): must be a number above 0, at most 86400, not 'soon\\x1b[2J'\n",
    )


def test_a_single_mistake_is_one_line(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_PORT", "")
    ended = run("config", "show")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("windlass: port (WINDLASS_PORT in the environment): is empty, but must be")
    assert ended.err.count("\n") == 1


def test_a_server_with_mistakes_in_its_settings_says_them_and_starts_nothing(here: Path) -> None:
    environ = {**os.environ, "WINDLASS_PROT": "1", "WINDLASS_WORKERS__SOLO": "0"}
    ended = subprocess.run(
        [WINDLASS, "serve", "--port", "0"], env=environ, capture_output=True, text=True, timeout=15, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[0] == "windlass: the settings have 2 mistakes:"
    assert len(ended.stderr.splitlines()) == 3
    assert list(here.iterdir()) == []


def test_the_command_alone_shows_what_it_holds(run: Run) -> None:
    for words in (("config",), ("config", "--help")):
        ended = run(*words)
        assert (ended.code, ended.err) == (0, "")
        assert "show" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("config", "shwo"), "windlass: there is no command 'shwo'; did you mean show?\nTry: windlass config --help\n"),
        (("confg",), "windlass: there is no command 'confg'; did you mean config show?\nTry: windlass --help\n"),
    ],
)
def test_a_misspelt_command_names_the_nearest(run: Run, words: tuple[str, ...], said: str) -> None:
    assert run(*words) == (2, "", said)


def test_an_unknown_option_is_a_mistake_of_usage(run: Run) -> None:
    ended = run("config", "show", "--port", "1")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("Try: windlass config show --help\n")


@pytest.mark.parametrize("words", [(), ("--json",), ("--origin",)])
def test_the_password_of_a_database_is_not_shown(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WINDLASS_DATABASE", "postgresql://me:s3cret@db1,db2/work")
    shown = run("config", "show", *words).out
    assert "s3cret" not in shown
    assert "postgresql://me:***@db1,db2/work" in shown

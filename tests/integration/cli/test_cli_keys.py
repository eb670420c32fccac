"""`windlass key` and the key that every command sends, against a real server and on a real data directory."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from command_runs import Ended
from live import LiveServer, command_of, until

from windlass.cli import serve
from windlass.cli.main import main
from windlass.client import AccessDenied, Client, ServerUnreachable
from windlass.core import limits
from windlass.core.access import read_key
from windlass.errors import ConflictError, InputError

Run = Callable[..., Ended]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    """A server without keys."""
    server = LiveServer(tmp_path).start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop()


@pytest.fixture
def run(live: LiveServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process against the server, with what the test has put into the environment."""
    monkeypatch.setenv("WINDLASS_URL", live.url)
    monkeypatch.delenv("WINDLASS_KEY", raising=False)

    def run_here(*words: str) -> Ended:
        code = main(words)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run_here


def make(run: Run, *words: str) -> str:
    """Make a key; give what stdout held."""
    ended = run("key", "create", *words)
    assert ended.code == 0, ended
    assert re.fullmatch(r"wl_[0-9a-f]{16}_[0-9a-f]{64}\n", ended.out)
    return ended.out.strip()


def test_the_first_key_closes_the_server_and_says_so(run: Run, monkeypatch: pytest.MonkeyPatch):
    ended = run("key", "create", "laptop", "--scope", "admin")
    assert "everybody needs one" in ended.err
    assert "WINDLASS_KEY" in ended.err
    refused = run("list")
    assert refused.code == 4
    assert "takes a key" in refused.err
    monkeypatch.setenv("WINDLASS_KEY", ended.out.strip())
    assert run("list").code == 0
    second = run("key", "create", "ci", "--scope", "read", "--scope", "submit")
    assert "everybody" not in second.err
    listed = run("key", "list")
    rows = [line.split("\t") for line in listed.out.splitlines()]
    assert [(row[1], row[2], row[5]) for row in rows] == [("live", "admin", "laptop"), ("live", "read,submit", "ci")]
    assert ended.out.strip().split("_")[2] not in listed.out


def test_a_key_without_the_scope_is_told_which_it_needs(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WINDLASS_KEY", make(run, "laptop", "--scope", "admin"))
    reader = make(run, "reader", "--scope", "read")
    monkeypatch.setenv("WINDLASS_KEY", reader)
    assert run("list").code == 0
    refused = run("submit", "simulate")
    assert refused.code == 4
    assert "scope submit" in refused.err


def test_a_revoked_key_is_out_at_once(run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch):
    admin = make(run, "laptop", "--scope", "admin")
    monkeypatch.setenv("WINDLASS_KEY", admin)
    other = make(run, "other", "--scope", "read")
    with Client(live.url, key=other) as client:
        assert client.list() is not None
        ended = run("key", "revoke", other.split("_")[1])
        assert ended.out == f"{other.split('_')[1]}\trevoked\n"
        with pytest.raises(AccessDenied):
            list(client.list())
    last = run("key", "revoke", admin.split("_")[1])
    assert last.code == 1
    assert "make another first" in last.err
    assert run("key", "revoke", "nothing").code == 5


def test_the_key_may_stand_in_a_file_that_only_its_owner_reads(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "the.key"
    file.touch(0o600)
    file.write_text(make(run, "laptop", "--scope", "admin") + "\n")
    assert run("list", "--key-file", str(file)).code == 0
    monkeypatch.setenv("WINDLASS_KEY_FILE", str(file))
    assert run("list").code == 0
    file.chmod(0o604)
    refused = run("list")
    assert refused.code == 2
    assert f"chmod o-r {file}" in refused.err
    assert run("list", "--key-file", str(tmp_path / "none")).code == 2


@pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "schl\u00fcssel", "", "\x00"])
def test_what_cannot_be_a_key_goes_nowhere(key: str):
    with pytest.raises(InputError, match="no key"):
        Client("http://127.0.0.1:1", key=key)


def test_keys_are_made_and_revoked_on_the_directory_of_a_stopped_server(
    run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch
):
    data = str(live.directory / "data")
    refused = run("key", "create", "x", "--scope", "admin", "--data", data)
    assert refused.code == 1
    assert f"process {live.pid}, which is running" in refused.err
    assert live.stop() == 0
    weak = run("key", "create", "x", "--scope", "read", "--data", data)
    assert weak.code == 2
    assert "first key must have the scope admin" in weak.err
    admin = make(run, "x", "--scope", "admin", "--data", data)
    live.start(wait=False)
    with Client(live.url, key=admin) as client:
        assert _eventually(lambda: [key.name for key in client.keys.list()]) == ["x"]
    assert run("list").code == 4
    assert live.stop() == 0
    ended = run("key", "revoke", admin.split("_")[1], "--data", data)
    assert ended.code == 0
    assert "no key is left" in ended.err
    assert run("key", "list", "--data", data).out.split("\t")[1] == "revoked"
    live.start()
    assert run("list").code == 0


def _eventually(ask: Callable[[], list[str]]) -> list[str]:
    """Ask a server that is only just starting."""

    def answered() -> list[str] | None:
        try:
            return ask()
        except ServerUnreachable:
            return None

    return until(answered, "the server answers")


def test_a_directory_that_is_not_there_has_no_keys_and_is_not_made(run: Run, tmp_path: Path):
    for words in (["list"], ["revoke", "x"]):
        ended = run("key", *words, "--data", str(tmp_path / "typo"))
        assert ended.code != 0
        assert "no directory" in ended.err
    assert not (tmp_path / "typo").exists()


def test_a_secret_is_nowhere_but_where_it_was_shown(run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch):
    made = json.loads(run("key", "create", "canary", "--scope", "admin", "--json").out)
    secret = read_key(made["key"]).secret  # type: ignore[union-attr]
    monkeypatch.setenv("WINDLASS_KEY", made["key"])
    assert run("list").code == 0
    assert live.request("GET", f"/v1/tasks?access_token={made['key']}")[0] == 401
    assert live.request("GET", "/v1/tasks", Authorization=f"Bearer {made['key']}x")[0] == 401
    listed = run("key", "list", "--json").out
    with Client(live.url, key=made["key"]) as client, pytest.raises(ConflictError) as refused:
        client.keys.revoke(made["id"])
    assert secret not in listed + str(refused.value) + command_of(live.pid)
    assert live.stop() == 0
    for file in live.directory.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("host", "is_open", "has_keys", "said"),
    [
        ("0.0.0.0", False, False, "access.no_keys"),
        ("192.0.2.1", False, False, "access.no_keys"),
        ("::", True, True, "access.off"),
        ("0.0.0.0", False, True, None),
        ("127.0.0.1", False, False, None),
        ("::1", True, False, None),
    ],
)
def test_a_server_that_others_can_reach_says_who_gets_in(host: str, is_open: bool, has_keys: bool, said: str | None):
    assembled = SimpleNamespace(access=SimpleNamespace(is_open=is_open, has_keys=has_keys))
    listener = SimpleNamespace(getsockname=lambda: (host, 8080))
    with structlog.testing.capture_logs() as lines:
        serve._warn_of_strangers(assembled, listener)  # type: ignore[arg-type]
    assert [line["event"] for line in lines] == ([said] if said else [])
    if said == "access.no_keys":
        assert "windlass key create NAME --scope admin" in lines[0]["meaning"]


def test_a_server_may_open_a_file_for_each_connection(live: LiveServer):
    soft, hard = resource.prlimit(live.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(limits.CONNECTIONS + limits.FILES_BESIDES, hard if hard >= 0 else soft)


def test_keys_and_when_they_were_used_outlive_the_server(run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WINDLASS_KEY", make(run, "laptop", "--scope", "admin"))
    assert run("list").code == 0
    assert live.stop() == 0
    shown = json.loads(run("key", "list", "--data", str(live.directory / "data"), "--json").out)
    assert shown["used_at"] is not None

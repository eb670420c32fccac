"""The client against a server that speaks the contract."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from v1_server import V1Server, free_port, later, problem

from windlass import errors
from windlass.client import (
    Client,
    ServerUnreachable,
    SubmitRequest,
    TaskCancelled,
    TaskFailed,
    UnexpectedAnswer,
    WaitTimeout,
)
from windlass.core.state import Reason, State
from windlass.core.task import Error, FileRow, Progress


def test_every_keyword_of_submit_is_a_field_of_the_payload(client: Client) -> None:
    awkward = {"kind": "x", "self": 1, "key": 2, "queue": None, "payload": {}, "wait": True, "a-b": [1]}
    handle = client.submit("build_report", **awkward)
    assert handle.get().payload == awkward
    assert handle.task.key is None


def test_options_go_with_the_record_not_with_the_payload(client: Client, server: V1Server) -> None:
    request = SubmitRequest(kind="build_report", payload={"a": 1}, queue="reports", tags={"c": "7"}, priority=5)
    handle = client.submit_task(request)
    task = client.get(handle.id)
    assert (task.queue, task.tags, task.priority, task.payload) == ("reports", {"c": "7"}, 5, {"a": 1})


def test_a_key_submitted_again_gives_the_same_task_and_with_other_content_a_conflict(client: Client) -> None:
    request = SubmitRequest(kind="build_report", payload={"a": 1}, key="r-7")
    assert client.submit_task(request).id == client.submit_task(request).id
    with pytest.raises(errors.KeyConflict, match="r-7"):
        client.submit_task(msgspec.structs.replace(request, payload={"a": 2}))


def test_an_unknown_kind_is_refused_with_its_field(client: Client) -> None:
    with pytest.raises(errors.InputError) as caught:
        client.submit("bild_report")
    assert caught.value.errors == (("/kind", "unknown_kind", "there is no such kind"),)


def test_result_waits_for_the_end_and_gives_plain_data(client: Client, server: V1Server) -> None:
    handle = client.submit("build_report")
    later(0.05, lambda: server.change(1, state=State.RUNNING))
    later(0.15, lambda: server.change(1, state=State.SUCCEEDED, result={"rows": 3}))
    assert handle.result(timeout=10) == {"rows": 3}


def test_a_failed_task_raises_its_error_and_carries_the_task(client: Client, server: V1Server) -> None:
    error = Error(type="ValueError", message="no such month", traceback="Traceback …")
    server.add(state=State.FAILED, reason=Reason.NOT_RETRYABLE, error=error)
    with pytest.raises(TaskFailed, match="ValueError: no such month") as caught:
        client.result(1)
    assert caught.value.task.error == error


def test_a_cancelled_task_has_no_result(client: Client, server: V1Server) -> None:
    server.add(state=State.CANCELLED)
    with pytest.raises(TaskCancelled, match="task 1"):
        client.result(1)


def test_waiting_ends_with_its_time_and_says_how_the_task_stands(client: Client, server: V1Server) -> None:
    server.add(state=State.RUNNING)
    with pytest.raises(WaitTimeout, match="task 1 is running and goes on") as caught:
        client.wait(1, timeout=0.2)
    assert caught.value.task.number == 1


def test_waiting_is_long_polling_not_asking_again_and_again(client: Client, server: V1Server) -> None:
    server.add(state=State.RUNNING)
    with pytest.raises(WaitTimeout):
        client.wait(1, timeout=0.5)
    assert server.count("GET /v1/tasks/1") <= 3


def test_a_server_that_answers_long_polls_at_once_is_not_hammered(client: Client, server: V1Server) -> None:
    task = server.add(state=State.RUNNING)
    server.closing = True  # what a draining server does: every long poll is answered at once
    ended = later(1.2, lambda: server.change(task.number, state=State.SUCCEEDED))
    client.wait(1, timeout=10)
    ended.join()
    assert server.count("GET /v1/tasks/1") <= 6


def test_watching_shows_each_change_and_ends_with_the_task(client: Client, server: V1Server) -> None:
    server.add(state=State.RUNNING)
    seen: list[Any] = []
    for task in client.watch(1, timeout=10):
        seen.append((task.state, task.progress.done if task.progress else None))
        if task.progress is None:
            server.change(1, progress=Progress(done=1, total=2, at=datetime.now(UTC)))
        elif not task.state.has_ended:
            server.change(1, state=State.SUCCEEDED)
    assert seen == [(State.RUNNING, None), (State.RUNNING, 1), (State.SUCCEEDED, 1)]


def test_lists_are_read_page_by_page_as_they_are_needed(client: Client, server: V1Server) -> None:
    for index in range(1100):
        server.add(kind="build_report" if index % 2 else "download")
    first = list(islice(client.list(), 3))
    assert [task.number for task in first] == [1100, 1099, 1098]
    assert server.count("GET /v1/tasks") == 1
    assert len(list(client.list())) == 1100
    assert server.count("GET /v1/tasks") == 1 + 3
    assert [task.number for task in client.list(kind="download", limit=2)] == [1099, 1097]


def test_filters_narrow_a_list(client: Client, server: V1Server) -> None:
    server.add(tags={"customer": "7"}, key="a")
    server.add(state=State.FAILED, queue="slow", tags={"customer": "8"})
    assert [task.number for task in client.list(tag=("customer", "7"))] == [1]
    assert [task.number for task in client.list(state="failed", queue="slow")] == [2]
    assert [task.number for task in client.list(key="a", state=State.FAILED)] == []


def test_a_running_task_that_is_cancelled_still_runs_until_it_is_gone(client: Client, server: V1Server) -> None:
    server.add(state=State.RUNNING)
    task = client.cancel(1, reason="wrong month", grace_s=3)
    assert task.state is State.RUNNING
    assert task.cancel_requested_at is not None
    assert server.requests[-1][2] == b'{"grace_s":3,"reason":"wrong month"}'


def test_operators_move_tasks_and_are_told_when_they_cannot(client: Client, server: V1Server) -> None:
    server.add()
    assert client.hold(1).waiting == "hold"
    assert client.release(1).waiting == "slot"
    assert client.cancel(1).state is State.CANCELLED
    with pytest.raises(errors.IllegalTransition, match="cancelled"):
        client.hold(1)
    assert client.retry(1).state is State.QUEUED


def test_an_unknown_task_is_not_found(client: Client) -> None:
    with pytest.raises(errors.NotFoundError, match="no such task"):
        client.get(99)


def test_kinds_and_health_come_as_views(client: Client) -> None:
    assert [(kind.name, kind.is_live) for kind in client.kinds()] == [("build_report", True), ("download", False)]
    assert client.health().ready


def test_a_file_is_streamed_into_a_directory_or_to_a_path(client: Client, server: V1Server, tmp_path: Path) -> None:
    content = b"x" * 3_000_000
    server.add(kind="download")
    server.files[1] = [FileRow(index=0, name="a b.iso", state="completed", size_bytes=len(content))]
    server.contents["a b.iso"] = content
    [file] = client.files(1)
    assert client.fetch_file(1, file.name, tmp_path) == tmp_path / "a b.iso"
    assert client.fetch_file(1, file.name, tmp_path / "other").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b.iso", "other"]


@pytest.mark.parametrize("name", ["..", "a/..", "/", "."])
def test_a_files_name_cannot_lead_out_of_the_directory(
    client: Client, server: V1Server, tmp_path: Path, name: str
) -> None:
    server.add(kind="download")
    server.contents[name] = b"x"
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(errors.WindlassError):
        client.fetch_file(1, name, inside)
    assert list(tmp_path.rglob("*")) == [inside]


def test_a_file_that_breaks_off_leaves_nothing_and_what_was_there_before(
    client: Client, server: V1Server, tmp_path: Path
) -> None:
    server.add(kind="download")
    (tmp_path / "a.iso").write_bytes(b"old")
    server.script("GET", "/v1/tasks/1/files/a.iso", (200, {"Content-Length": "9", "Connection": "close"}, b"short"))
    with pytest.raises(ServerUnreachable, match="broke"):
        client.fetch_file(1, "a.iso", tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.iso", b"old")]


def test_a_missing_file_is_not_found_and_leaves_nothing(client: Client, server: V1Server, tmp_path: Path) -> None:
    server.add(kind="download")
    with pytest.raises(errors.NotFoundError):
        client.fetch_file(1, "a.iso", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_listens_the_error_names_the_address_and_the_command() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(ServerUnreachable, match=f"{url}.*refused.*windlass serve") as caught:
        client.kinds()
    assert caught.value.details["was_sent"] is False


def test_a_full_server_says_when_to_come_again(client: Client, server: V1Server) -> None:
    server.script("POST", "/v1/tasks", problem(503, "saturated", "the line is full", Retry_After="3"))
    with pytest.raises(errors.SaturatedError) as caught:
        client.submit("build_report")
    assert caught.value.details["retry_after_s"] == 3
    assert server.count("POST /v1/tasks") == 1


def test_a_redirect_is_not_followed(client: Client, server: V1Server) -> None:
    server.script("GET", "/v1/kinds", (302, {"Location": f"{server.url}/readyz"}, b""))
    with pytest.raises(UnexpectedAnswer, match="302"):
        client.kinds()
    assert server.count("/readyz") == 0


def test_proxies_of_the_environment_are_not_used(
    client: Client, server: V1Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with Client(server.url) as fresh:
        assert fresh.health().ready


def test_a_server_below_a_path_is_reached_there(server: V1Server) -> None:
    server.script("GET", "/windlass/v1/kinds", (200, {}, b'{"kinds": []}'))
    with Client(f"{server.url}/windlass/") as client:
        assert list(client.kinds()) == []


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://a:b@x", "http://x?y", "http://[x"])
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(errors.InputError, match="write it like http://"):
        Client(url)


def test_one_client_serves_many_threads(client: Client, server: V1Server) -> None:
    with ThreadPoolExecutor(8) as threads:
        handles = list(threads.map(lambda index: client.submit("build_report", index=index), range(64)))
    assert sorted(handle.get().payload["index"] for handle in handles) == list(range(64))


class BrokenLine:
    """A listener that answers one connection after the other as told; an empty answer is a break."""

    def __init__(self, *answers: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = 0
        self.received: list[bytes] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BrokenLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Shutting down wakes the thread from `accept`, which closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.received.append(connection.recv(65536))
                self.requests += 1
                connection.sendall(answer)


_KINDS = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"kinds":[]}'


def test_a_read_bridges_a_short_break_of_a_server_that_has_answered_before() -> None:
    with BrokenLine(_KINDS, b"", b"", _KINDS) as line, Client(line.url) as client:
        client.kinds()
        assert list(client.kinds()) == []
        assert line.requests == 4


def test_a_server_that_has_never_answered_is_not_asked_again() -> None:
    with BrokenLine(b"", _KINDS) as line, Client(line.url) as client, pytest.raises(ServerUnreachable, match="broke"):
        client.kinds()
    assert line.requests == 1


def test_an_operation_whose_connection_breaks_is_never_sent_twice() -> None:
    with BrokenLine(_KINDS, b"", _KINDS) as line, Client(line.url) as client:
        client.kinds()
        with pytest.raises(ServerUnreachable, match="is not known") as caught:
            client.cancel(1)
        assert line.requests == 2
    assert caught.value.details["was_sent"] is True


_PLACED = b'HTTP/1.1 202 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"tasks":[]}'


def test_a_submit_whose_connection_breaks_is_sent_again_under_the_same_name() -> None:
    with BrokenLine(_KINDS, b"", b"", _PLACED, _PLACED) as line, Client(line.url) as client:
        client.kinds()
        assert list(client.submit_batch([SubmitRequest(kind="build_report")])) == []
        assert list(client.submit_batch([SubmitRequest(kind="build_report")])) == []
    _, *same, other = [line_.lower() for line_ in line.received]
    names = {re.findall(rb'\r\nidempotency-key: "([0-9a-f]{32})"\r\n', sent)[0] for sent in same}
    assert (len(same), len(names)) == (3, 1)
    assert names.isdisjoint(re.findall(rb'idempotency-key: "([0-9a-f]{32})"', other))


def test_a_server_that_does_not_answer_is_given_up_after_the_clients_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, timeout_s=0.2) as client, pytest.raises(ServerUnreachable, match=r"within 0\.2 s"):
            client.kinds()

"""`windlass get` in this process, against a server whose downloads end as a test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from command_runs import Ended
from v1_server import V1Server, later

from windlass.core.state import State
from windlass.core.task import Error, FileRow

Run = Callable[..., Ended]


def a_download(server: V1Server, *files: FileRow, state: State = State.SUCCEEDED) -> Any:
    """Have the next download end with these files."""

    def end() -> None:
        server.wait_for_request("POST /v1/tasks")
        server.wait_for_request("GET /v1/tasks/")
        server.files[1] = list(files)
        error = Error(type="download_failed", message="nothing could be had") if state is State.FAILED else None
        placed = [{"name": file.name, "path": f"/srv/{file.name}"} for file in files]
        server.change(1, state=state, error=error, result={"files": placed} if error is None else None)

    return later(0, end)


_DONE = FileRow(index=0, name="a.iso", state="completed", url="http://x/a", received_bytes=1, size_bytes=1)
_FAILED = FileRow(index=1, name="b.iso", state="failed", url="http://x/b", error="HTTP 404 from x")


def test_get_submits_one_download_and_prints_where_the_files_are(run: Run, server: V1Server) -> None:
    end = a_download(server, _DONE)
    assert run("get", "http://x/a", "--name", "a.iso", "--digest", "sha256:ab") == (0, "/srv/a.iso\n", "")
    end.join()
    assert server.tasks[1].kind == "download"
    assert msgspec.json.decode(server.payloads[1]) == {
        "files": [{"url": "http://x/a", "name": "a.iso", "digest": "sha256:ab"}]
    }


def test_get_ends_with_3_when_a_file_could_not_be_had(run: Run, server: V1Server) -> None:
    end = a_download(server, _DONE, _FAILED)
    ended = run("get", "http://x/a", "http://x/b")
    end.join()
    assert ended == (3, "/srv/a.iso\n", "windlass: http://x/b: HTTP 404 from x\n")


def test_get_says_why_nothing_could_be_had(run: Run, server: V1Server) -> None:
    end = a_download(server, _FAILED, state=State.FAILED)
    ended = run("get", "http://x/b")
    end.join()
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.splitlines()[-1] == "windlass: task 1 failed: nothing could be had"


def test_get_fetches_the_files_into_a_directory(run: Run, server: V1Server, tmp_path: Path) -> None:
    server.contents["a.iso"] = b"bytes"
    end = a_download(server, _DONE, _FAILED)
    ended = run("get", "http://x/a", "http://x/b", "--to", str(tmp_path / "new"), "--json")
    end.join()
    [line] = ended.out.splitlines()
    document = msgspec.json.decode(line)
    assert [file["path"] for file in document["files"]] == [str(tmp_path / "new/a.iso"), "/srv/b.iso"]
    assert document["task"]["number"] == 1
    assert (tmp_path / "new/a.iso").read_bytes() == b"bytes"


def test_get_never_replaces_a_file_that_is_there(run: Run, server: V1Server, tmp_path: Path) -> None:
    server.contents["a.iso"] = b"bytes"
    (tmp_path / "a.iso").write_bytes(b"mine")
    (tmp_path / "a (1).iso").symlink_to(tmp_path / "nowhere")
    end = a_download(server, _DONE)
    ended = run("get", "http://x/a", "--to", str(tmp_path))
    end.join()
    assert (ended.code, ended.out.splitlines()) == (0, [str(tmp_path / "a (2).iso")])
    assert (tmp_path / "a.iso").read_bytes() == b"mine"
    assert (tmp_path / "a (2).iso").read_bytes() == b"bytes"


def test_get_into_what_is_no_directory_is_refused_before_anything_is_asked_for(
    run: Run, server: V1Server, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("x")
    ended = run("get", "http://h/a.iso", "--to", str(tmp_path / "taken"))
    assert ended.code == 2
    assert "--to names a directory" in ended.err
    assert not server.tasks


def test_get_detached_prints_the_id_at_once(run: Run, server: V1Server) -> None:
    assert run("get", "http://x/a", "--detach") == (0, server.tasks[1].id + "\n", "")
    assert run("get", "http://x/a", "--detach", "--to", "x").code == 2
    assert not Path("x").exists()


def test_get_takes_a_name_for_a_single_url_only(run: Run, server: V1Server) -> None:
    assert "single url" in run("get", "http://x/a", "http://x/b", "--name", "a").err
    assert server.requests == []

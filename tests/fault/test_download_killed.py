"""kill -9 in the middle of a download: it goes on where it was, and what is there is not fetched again."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from download_server import FileServer, serve
from live import running, until

BIG = 20 * 1000 * 1000


@pytest.mark.timeout(90)
def test_a_download_killed_at_half_goes_on_by_a_range_and_a_finished_file_is_not_fetched_again(tmp_path: Path):
    big, small = os.urandom(BIG), os.urandom(300_000)
    never = threading.Event()
    with FileServer() as shelf, running(tmp_path) as server:
        urls = [shelf.on("/big.bin", serve(big, gate=never), serve(big)), shelf.on("/small.bin", serve(small))]
        task = server.submit("download", {"files": urls})

        def rows() -> list[dict[str, object]]:
            return server.request("GET", f"/v1/tasks/{task['id']}/files")[1]["files"]

        def at_half() -> bool:
            now = rows()
            return len(now) == 2 and now[0]["received_bytes"] == BIG // 2 and now[1]["state"] == "completed"

        until(at_half, "half of the big file is there", log=server.log)
        server.kill()
        server.start()
        ended = server.wait(task)
        never.set()

        assert ended["state"] == "succeeded", ended
        assert (ended["attempt"], ended["charged"]) == (2, 1)
        first, second = shelf.seen("/big.bin")
        assert first.get("range") is None
        asked = second.get("range") or ""
        begun_at = int(asked.removeprefix("bytes=").removesuffix("-"))
        assert begun_at >= BIG // 4
        assert second.get("if-range") == '"v1"'
        assert len(shelf.seen("/small.bin")) == 1
        files = {file["name"]: file for file in ended["result"]["files"]}
        assert files["big.bin"]["resumed_bytes"] == begun_at
        for name, content in (("big.bin", big), ("small.bin", small)):
            assert Path(files[name]["path"]).read_bytes() == content
            assert files[name]["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
            status, body = server.request("GET", f"/v1/tasks/{task['id']}/files/{name}")
            assert (status, body) == (200, content)
        assert sorted(path.name for path in (tmp_path / "data" / "files" / task["id"]).iterdir()) == [
            "big.bin",
            "small.bin",
        ]
        print(f"resumed at byte {begun_at:,} of {BIG:,}")

"""Servers that speak the dialects, on each store, under the settings that transcripts ask for."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

from live import LiveServer, running
from stores import fresh_store
from transcript import Answer

_SIMULATED = ("workmate", "check_result", "tasktrack", "enqueue")

ENDLESS = {
    **{f"WINDLASS_DIALECTS__{name.upper()}__DURATION_S": "600" for name in _SIMULATED},
    **{f"WINDLASS_DIALECTS__{name.upper()}__CONCURRENCY": "1" for name in ("downloads", *_SIMULATED)},
    **{f"WINDLASS_DIALECTS__{name.upper()}__CAPACITY": "1" for name in ("downloads", *_SIMULATED)},
}
"""Work that outlasts every test; one task at once in each dialect, and one more may wait."""
QUICK = {"WINDLASS_SIMULATE__DURATION_S": "0.05", "WINDLASS_SIMULATE__FAILURE_RATE": "0"}
"""Work that is soon done."""
FAILING = {
    **{f"WINDLASS_DIALECTS__{name.upper()}__DURATION_S": "0.02" for name in _SIMULATED},
    **{f"WINDLASS_DIALECTS__{name.upper()}__FAILURE_RATE": "1" for name in _SIMULATED},
    "WINDLASS_DIALECTS__CHECK_RESULT__DURATION_S": "600",
    "WINDLASS_DIALECTS__CHECK_RESULT__TIMEOUT_S": "0.2",
    "WINDLASS_DIALECTS__ENQUEUE__RETRY_BASE_S": "0.01",
    "WINDLASS_KILL_AFTER_S": "0.5",
}
"""Work that fails, and work that does not end in its time."""
SETTINGS = {"endless": ENDLESS, "quick": QUICK, "failing": FAILING}


@contextlib.contextmanager
def serving(store: str, settings: str, directory: Path) -> Iterator[LiveServer]:
    """Run a server on a new store."""
    with (
        fresh_store(store) as database,
        running(directory, database=database, WINDLASS_LOG_LEVEL="warning", **SETTINGS[settings]) as server,
    ):
        yield server


def ask_of(server: LiveServer, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
    """Send one request as a client of a dialect would, without a Content-Type of its own."""
    answer = server.pool.request(method, server.url + path, body=body, headers=headers)
    return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)


class _Shelf(http.server.SimpleHTTPRequestHandler):
    """Serves a directory; of `/endless.bin` one byte, and then nothing until the shelf is closed."""

    def __init__(self, *args: object, closing: threading.Event, **kwargs: object) -> None:
        self.closing = closing
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path != "/endless.bin":
            super().do_GET()
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x")
        self.wfile.flush()
        self.closing.wait(60)

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def shelf_in(directory: Path) -> Iterator[str]:
    """Serve two files and one that never comes to its end; give the address."""
    (directory / "a.bin").write_bytes(b"a" * 1000)
    (directory / "b.bin").write_bytes(b"b" * 2000)
    closing = threading.Event()
    handler = partial(_Shelf, directory=str(directory), closing=closing)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        closing.set()
        server.shutdown()
        thread.join()

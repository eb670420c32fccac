"""A file server that does as it is told, well or badly, and remembers every request; and a host that remembers rows.

Raw sockets, because most of what must be tried here no HTTP library would send.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from windlass.app.context import BuiltinContext
from windlass.config.schema import Downloads, Outbound, Simulate, WorkerSettings
from windlass.core.ids import TaskId, Token
from windlass.core.task import FileRow, Progress
from windlass.wire.codec import decode_json

LOOPBACK = ["127.0.0.0/8"]


class Seen(msgspec.Struct, frozen=True):
    """One request as it came; header names in lower case."""

    path: str
    headers: dict[str, str]

    def get(self, name: str) -> str | None:
        return self.headers.get(name)


Answer = Callable[[socket.socket, Seen], None]


class FileServer:
    """Answers each path by its script: one answer a request, the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self.tls: ssl.SSLContext | None = None
        self._scripts: dict[str, list[Answer]] = {}
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> FileServer:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str, *answers: Answer) -> str:
        """Script `path` and give its url."""
        self._scripts[path] = list(answers)
        return self.url(path)

    def seen(self, path: str) -> list[Seen]:
        return [request for request in self.requests if request.path == path]

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _shake_hands(self, connection: socket.socket) -> socket.socket:
        assert self.tls is not None
        with connection:
            return self.tls.wrap_socket(connection, server_side=True)

    def _serve(self, connection: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            connection if self.tls is None else self._shake_hands(connection) as connection,
        ):
            raw = b""
            while b"\r\n\r\n" not in raw:
                more = connection.recv(65536)
                if not more:
                    return
                raw += more
            request = _read_request(raw)
            self.requests.append(request)
            answers = self._scripts.get(request.path, [status(404)])
            (answers.pop(0) if len(answers) > 1 else answers[0])(connection, request)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass


def _read_request(raw: bytes) -> Seen:
    first, *lines = raw.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Seen(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})


# ── answers ────────────────────────────────────────────────────────


def raw(*pieces: bytes) -> Answer:
    """Send exactly this and close."""

    def answer(connection: socket.socket, request: Seen) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def status(number: int, *fields: str, body: bytes = b"no") -> Answer:
    """Answer with a status and fields like `Retry-After: 1`."""
    return raw(head(number, *fields, f"Content-Length: {len(body)}") + body)


def head(number: int, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {number} Scripted", *fields, "Connection: close", "", ""]).encode("latin-1")


def serve(
    content: bytes,
    *fields: str,
    etag: str | None = '"v1"',
    cut: int | None = None,
    gate: threading.Event | None = None,
) -> Answer:
    """Serve `content` as a good server does, ranges included. `cut`: break off after so many bytes of a body;
    `gate`: send half of a body and wait for it before the other half.
    """

    def answer(connection: socket.socket, request: Seen) -> None:
        match = re.fullmatch(r"bytes=([0-9]+)-", request.get("range") or "")
        condition = request.get("if-range")
        start = int(match[1]) if match and condition in (None, etag) else 0
        common = [*fields, "Accept-Ranges: bytes", *([f"ETag: {etag}"] if etag else [])]
        if start >= len(content) > 0:
            connection.sendall(head(416, *common, f"Content-Range: bytes */{len(content)}", "Content-Length: 0"))
            return
        part = content[start:]
        common.append(f"Content-Length: {len(part)}")
        if start:
            common.append(f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}")
        connection.sendall(head(206 if start else 200, *common))
        if gate is not None:
            half = len(part) // 2
            connection.sendall(part[:half])
            gate.wait(15)
            part = part[half:]
        connection.sendall(part if cut is None else part[:cut])

    return answer


def redirect(location: str, number: int = 302) -> Answer:
    return status(number, f"Location: {location}")


def endless(connection: socket.socket, request: Seen) -> None:
    """Send a body that never ends, fast."""
    connection.sendall(head(200))
    while True:
        connection.sendall(b"x" * 65536)


def silent(connection: socket.socket, request: Seen) -> None:
    """Take the request and never say a word."""
    with contextlib.suppress(OSError):
        connection.recv(1)


# ── the worker's side ──────────────────────────────────────────────


class RecordingHost:
    """A worker that keeps what the context of an attempt tells it. Safe to call from any thread."""

    def __init__(self) -> None:
        self.rows: list[FileRow] = []
        self.reports: list[Progress] = []
        self.checkpoint: Any = None
        self.stopping = False

    def report(self, progress: Progress) -> None:
        self.reports.append(progress)

    def keep_file(self, file: FileRow) -> None:
        self.rows.append(file)

    def save(self, checkpoint: bytes) -> Future[bool]:
        self.checkpoint = decode_json(checkpoint)
        saved: Future[bool] = Future()
        saved.set_result(True)
        return saved

    @property
    def files(self) -> list[FileRow]:
        """The newest row of each file, as the store would have them."""
        return list({row.index: row for row in self.rows}.values())

    def states(self, index: int = 0) -> list[str]:
        """The states that a file went through."""
        states = [row.state for row in self.rows if row.index == index]
        return [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state]


class Someone(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of an attempt."""

    directory: str
    task_id: TaskId = TaskId("0192e4a0-0000-7000-8000-000000000001")
    token: Token = Token("0" * 32)
    attempt: int = 1
    deadline: datetime | None = None


def make_context(
    directory: Path,
    host: RecordingHost,
    *,
    allow: list[str] = LOOPBACK,
    files: list[FileRow] | None = None,
    checkpoint: Any = None,
    simulate: Simulate = Simulate(),  # noqa: B008 immutable
    **downloads: Any,
) -> BuiltinContext:
    """Make the context of an attempt; `downloads` are settings of that section."""
    settings = WorkerSettings(
        outbound=Outbound(allow=allow),
        downloads=Downloads(**{"floor_bytes": 0, "connect_s": 3.0, "low_speed_s": 3.0, **downloads}),
        simulate=simulate,
    )
    identity = Someone(directory=str(directory))
    return BuiltinContext(identity, host, checkpoint=checkpoint, files=files or [], settings=settings)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Give a port of loopback that refuses connections: bound by us, and not listened on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]

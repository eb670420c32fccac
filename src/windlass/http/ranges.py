"""Files on disk as answers: whole, one range, or not changed. Reads them in threads, never on the loop.

Knows no tasks: which file may be read is settled before. Source: RFC 9110 § 13 and § 14; RFC 6266 for the name.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from typing import Final
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from windlass.errors import NotFoundError, WindlassError
from windlass.http.call import Call, until_gone
from windlass.http.reply import Headers

CHUNK_BYTES: Final = 512 * 1024
"""Read and sent at once: large enough that a thread's hand-over is small beside the copy."""

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE)
_UNSAFE_IN_QUOTES = re.compile(r"[^A-Za-z0-9 ._()+,@=-]")


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header over a file of `size` bytes into the first byte and the one after the last.

    None when the whole file is the answer: no range, several, or nothing of that form.
    LIMIT: one range only. Many small ones cost the sender nothing and the server much.

    Raises:
        WindlassError: `range_not_satisfiable`.

    >>> parse_range("bytes=0-9", 100), parse_range("bytes=90-", 100), parse_range("bytes=-5", 100)
    ((0, 10), (90, 100), (95, 100))
    >>> parse_range("bytes=0-1,5-6", 100), parse_range("items=0-1", 100)
    (None, None)
    """
    found = _RANGE.fullmatch(text) if text else None
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise WindlassError(
            f"the file has {size:,} bytes; there are none in that range", code="range_not_satisfiable", size_bytes=size
        )
    return start, end


def disposition(name: str) -> bytes:
    r"""Spell a Content-Disposition that saves the file as `name` and never shows it.

    >>> disposition("a.iso").decode()
    'attachment; filename="a.iso"; filename*=UTF-8\'\'a.iso'
    """
    plain = _UNSAFE_IN_QUOTES.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}".encode("ascii")


class FileAnswer:
    """The file at `path`, to be saved as `name`: whole, one range of it, or only that it has not changed."""

    def __init__(self, call: Call, path: str, *, name: str) -> None:
        self._call = call
        self._path = path
        self._name = name

    async def __call__(self, _scope: Scope, receive: Receive, send: Send, /) -> None:
        """Send it as fast as the client takes it, until it is through or the client leaves.

        Raises:
            NotFoundError: it is not there any more.
            WindlassError: `range_not_satisfiable`.
        """
        descriptor = await asyncio.to_thread(_open, self._path)
        try:
            status, headers, part = self._begin(os.fstat(descriptor))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            if part is None or self._call.is_head:
                await send({"type": "http.response.body", "body": b""})
                return
            gone = asyncio.create_task(until_gone(receive))
            try:
                await _send_part(descriptor, part, send, gone)
            finally:
                gone.cancel()
        finally:
            await asyncio.to_thread(os.close, descriptor)

    def _begin(self, found: os.stat_result) -> tuple[int, Headers, tuple[int, int] | None]:
        """Settle the status, the headers, and which bytes follow: none of a file that is empty or not changed."""
        size = found.st_size
        tag = f"{size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"
        headers: Headers = [
            (b"etag", f'"{tag}"'.encode()),
            (b"accept-ranges", b"bytes"),
            (b"content-type", b"application/octet-stream"),
            (b"content-disposition", disposition(self._name)),
            (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
        ]
        if not self._call.if_none_match().isdisjoint({tag, "*"}):
            return 304, headers, None
        condition = self._call.header(b"if-range")
        is_asked = not self._call.is_head and condition in (None, f'"{tag}"')
        part = parse_range(self._call.header(b"range"), size) if is_asked else None
        if part is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (part[0], part[1] - 1, size)))
        start, end = part or (0, size)
        headers.append((b"content-length", b"%d" % (end - start)))
        return (200 if part is None else 206), headers, (start, end) if end > start else None


async def _send_part(descriptor: int, part: tuple[int, int], send: Send, gone: asyncio.Task[None]) -> None:
    position, end = part
    while position < end and not gone.done():
        chunk = await asyncio.to_thread(os.pread, descriptor, min(CHUNK_BYTES, end - position), position)
        if not chunk:
            raise OSError("a file became shorter while it was sent")
        position += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": position < end})


def _open(path: str) -> int:
    """Open a regular file; never follow a link, and never wait for the other end of a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise _missing() from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _missing()
    return descriptor


def _missing() -> NotFoundError:
    return NotFoundError(
        "the file is not on this server's disk: it was removed, or, where several servers share a database, lies with "
        "the one that ran the task. Give all of them one directory of result files (`files`, WINDLASS_FILES)"
    )

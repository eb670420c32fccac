"""One HTTP request as handlers see it: what it asks for, read strictly, and how long it may wait.

Knows no routes and answers nothing; what cannot be read is raised as an error of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Receive, Scope

from windlass.config.dialects import Dialects
from windlass.contracts.access import Access
from windlass.contracts.clock import Clock
from windlass.contracts.engine_api import EngineApi
from windlass.contracts.tasks import TaskRef
from windlass.core.ids import parse_task_ref
from windlass.errors import NotFoundError, WindlassError
from windlass.http.inputs import read_query, read_struct
from windlass.wire.codec import decode_strict, echo

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

_JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Services:
    """What handlers work with. One per app.

    `stopping` is set when the server stops: whoever waits answers with what there is. `openapi` and `docs` are
    the two documents, ready to send. `dialects` are the settings of those.
    """

    def __init__(
        self,
        engine: EngineApi,
        access: Access,
        clock: Clock,
        *,
        body_bytes: int,
        dialects: Dialects,
        documents: tuple[bytes, bytes],
    ) -> None:
        self.engine = engine
        self.access = access
        self.clock = clock
        self.body_bytes = body_bytes
        self.dialects = dialects
        self.openapi, self.docs = documents
        self.stopping = asyncio.Event()


class Call:
    """A request on its way through one handler.

    `principal` is who sends it: the id of a key, `loopback` or `anonymous`; empty until that is known.
    """

    __slots__ = ("_headers", "_receive", "engine", "principal", "scope", "services")

    def __init__(self, services: Services, scope: Scope, receive: Receive) -> None:
        self.services = services
        self.engine = services.engine
        self.scope = scope
        self.principal = ""
        self._receive = receive
        self._headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            # Of several, all, joined as RFC 9110 § 5.3 says.
            self._headers[name] = self._headers[name] + b", " + value if name in self._headers else value

    @property
    def is_head(self) -> bool:
        """Whether the answer will be sent without its body."""
        return self.scope["method"] == "HEAD"

    def header(self, name: bytes) -> str | None:
        """Read a header by its name in lower case."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def parameter(self, name: str) -> str:
        """Read a part of the path."""
        return self.scope["path_params"][name]

    def task_ref(self) -> TaskRef:
        """Read which task the path names.

        Raises:
            NotFoundError: nothing could be called so.
        """
        text = self.parameter("id")
        ref = parse_task_ref(text)
        if ref is None:
            raise NotFoundError(f"no task is called {echo(text)}: name one by its id or its number")
        return ref

    def if_none_match(self) -> frozenset[str]:
        """Read the entity tags the client has: weak or strong, without their quotes."""
        return frozenset(
            tag.strip().removeprefix("W/").strip('"') for tag in (self.header(b"if-none-match") or "").split(",")
        )

    def query(self, kind: type[S]) -> S:
        """Read the query into `kind`.

        Raises:
            InputError: names every parameter that breaks a rule.
        """
        return read_query(self.scope["query_string"], kind)

    async def struct(self, kind: type[S]) -> S:
        """Read a body that may be left out into `kind`.

        Raises:
            InputError: names every field that breaks a rule.
        """
        return read_struct(await self.json(may_be_empty=True), kind)

    async def json(self, *, may_be_empty: bool = False) -> Any:
        """Read the body as strict JSON; `{}` for one that may be left out and was.

        Raises:
            InputError: it is no JSON.
            WindlassError: it is too large, or of a kind that is not read here.
        """
        media = self.header(b"content-type")
        if media is not None or not may_be_empty:
            _check_media(media, _JSON)
        raw = await self._read(self.services.body_bytes)
        if may_be_empty:
            if not raw:
                return {}
            _check_media(media, _JSON)
        return decode_strict(raw)

    async def loose_json(self) -> Any:
        """Read the body as JSON, whatever the request says that it is.

        Raises:
            InputError: it is no JSON.
            WindlassError: it is too large, or encoded.
        """
        return decode_strict(await self._read(self.services.body_bytes))

    async def batch(self, *, max_bytes: int) -> tuple[str, bytes]:
        """Take in a body that is a JSON document or JSON line by line, unread, and say which.

        Raises:
            WindlassError: it is too large, or of a kind that is not read here.
        """
        media = _check_media(self.header(b"content-type"), _JSON, NDJSON)
        return media, await self._read(max_bytes)

    async def _read(self, limit: int) -> bytes:
        """Take in the body, counted by what it says of itself and by what comes.

        How long it may take is the connection's to watch.
        """
        coding = self.header(b"content-encoding")
        if coding is not None and coding.strip().lower() != "identity":
            raise WindlassError("send the body as it is, without Content-Encoding", code="unsupported_media_type")
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise self._too_large(limit)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise self._too_large(limit)
            if not message.get("more_body", False):
                return chunk if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self, limit: int) -> WindlassError:
        hint = " (the setting body_bytes)" if limit == self.services.body_bytes else ""
        return WindlassError(f"a body may have {limit:,} bytes here{hint}", code="body_too_large")

    async def wait(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Wait for `work`; None when the server stops first. The body must have been read.

        Raises:
            ClientGone: the client left first. `work` has been cancelled.
        """
        working = asyncio.create_task(work)
        gone = asyncio.create_task(until_gone(self._receive))
        stopping = asyncio.create_task(self.services.stopping.wait())
        watched: set[asyncio.Task[Any]] = {working, gone, stopping}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if gone.done():
                raise ClientGone
            return None
        finally:
            for task in watched:
                task.cancel()
            await asyncio.gather(*watched, return_exceptions=True)


async def until_gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _check_media(media: str | None, *known: str) -> str:
    """Give the media type that a Content-Type names, if it is a known one in UTF-8."""
    name, *parameters = (media or "").split(";")
    name = name.strip().lower()
    if name not in known:
        wanted = " or ".join(known)
        raise WindlassError(f"send JSON, with the header Content-Type: {wanted}", code="unsupported_media_type")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise WindlassError("send JSON as UTF-8: it has no other charset", code="unsupported_media_type")
    return name

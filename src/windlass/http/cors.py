"""Which pages of other origins may call this server from a browser, and what they are told. Pure.

Says nothing of who may do what: a page that is let in needs a key where everybody does.
Source: the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from starlette.routing import compile_path

from windlass.http.access import is_loopback_name
from windlass.http.reply import Headers
from windlass.http.route import Route

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_MAX_AGE_S: Final = 600
"""For so long a browser need not ask again."""
_VARY: Final = (b"vary", b"origin")
_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"DELETE, GET, HEAD, PATCH, POST"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, Last-Event-ID, Prefer, Range",
    ),
    (b"access-control-max-age", b"%d" % _MAX_AGE_S),
]
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"Content-Disposition, Content-Range, ETag, Idempotency-Replayed, Link, Location, Preference-Applied, Retry-After, "
    b"X-Request-ID",
)


class Judgement(NamedTuple):
    """Whether a page may have things changed, and what the answer to it carries, whatever else that says."""

    may_change: bool
    headers: Headers


class Pages:
    """Pages of other origins: those that are configured may call everything, those of this machine the dialects."""

    def __init__(self, routes: Iterable[Route], origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)
        paths = {route.path for route in routes if route.dialect is not None}
        self._roots = tuple({"/" + path.split("/")[1] for path in paths})
        self._patterns = [compile_path(path)[0] for path in sorted(paths)]

    def is_dialect(self, path: str) -> bool:
        """Whether a dialect answers under `path`, with or without a slash at its end."""
        if not path.startswith(self._roots):
            return False
        path = path.removesuffix("/")
        return any(pattern.fullmatch(path) for pattern in self._patterns)

    def judge(self, origins: Sequence[str], *, host: str, is_dialect: bool, is_preflight: bool) -> Judgement:
        """Judge a request that names `origins`, one in all decency, and calls this server `host`."""
        foreign = [origin for origin in origins if origin.lower().partition("://")[2] != host.lower()]
        if not foreign and all(map(_is_origin, origins)):
            return Judgement(True, [_VARY])
        if len(origins) > 1 or not self._is_let_in(origins[0].lower(), is_dialect):
            return Judgement(False, [_VARY])
        said = (b"access-control-allow-origin", origins[0].encode("latin-1"))
        return Judgement(True, [_VARY, said, *(_PREFLIGHT if is_preflight else [_EXPOSED])])

    def _is_let_in(self, origin: str, is_dialect: bool) -> bool:
        if origin in self._origins:
            return True
        found = _ORIGIN.fullmatch(origin)
        return is_dialect and found is not None and is_loopback_name(found.group(1).strip("[]"))


def _is_origin(text: str) -> bool:
    return _ORIGIN.fullmatch(text.lower()) is not None

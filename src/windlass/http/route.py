"""What is known of a route before a request comes. Holds no route: these stand in `routes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from windlass.core.access import AccessScope
from windlass.http.call import Call
from windlass.http.reply import Answer


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Header(msgspec.Struct, frozen=True):
    """A request header that a route heeds."""

    name: str
    summary: str
    example: str


class Response(msgspec.Struct, frozen=True):
    """An answer of a route: JSON of `shape`, any JSON where that is None, or something of another `media` type."""

    summary: str
    shape: Any = None
    media: str = "application/json"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `request`: the shape of its body, which may be of any type in `media`; `may_be_empty`: which may be left out.
    `query`: the shape of its parameters, None where any are passed over. `problems`: statuses of errors besides those
    that follow from the rest. `examples`: bodies by name. `dialect`: whose contract it belongs to; None: the native
    API.
    """

    method: str
    path: str
    scope: AccessScope
    summary: str
    handler: Callable[[Call], Awaitable[Answer]]
    responses: Mapping[int, Response]
    request: type[msgspec.Struct] | None = None
    media: tuple[str, ...] = ("application/json",)
    may_be_empty: bool = False
    query: type[msgspec.Struct] | None = NoQuery
    headers: tuple[Header, ...] = ()
    problems: tuple[int, ...] = ()
    examples: Mapping[str, Any] = {}
    dialect: str | None = None

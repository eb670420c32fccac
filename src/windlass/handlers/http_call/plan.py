"""What a call is asked for: its payload read, its request made, its limits set. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.limits import KIB
from windlass.errors import InputError
from windlass.handlers.download.plan import check_headers
from windlass.outbound.request import Request
from windlass.outbound.transport import Limits
from windlass.wire.codec import encode_json

CONNECT_S = 10.0
TIMEOUT_S = 60.0
TIMEOUT_MAX_S = 3600.0
LEAST_S = 0.1
"""A call gets so much, however little of its attempt is left."""
SPARE_S = 1.0
"""A call ends so long before its attempt, to tell more than that the attempt was ended."""
KEPT_BYTES = 256 * KIB
KEPT_MAX_BYTES = 512 * KIB
"""LIMIT: as base64, with the headers, it is still well within what a result may hold."""

Address = Annotated[str, msgspec.Meta(max_length=8192, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+([/?#]|$)")]
"""An http or https url without user and password; what else a url must be is checked when it is called."""
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Timeout = Annotated[float, msgspec.Meta(ge=LEAST_S, le=TIMEOUT_MAX_S)]
KeptBytes = Annotated[int, msgspec.Meta(ge=0, le=KEPT_MAX_BYTES)]
Redirects = Annotated[int, msgspec.Meta(ge=0, le=5)]
Json = Any | msgspec.UnsetType
"""Any JSON, null included."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The payload. At most one of `json` and `body` is given."""

    url: str
    method: Method = "GET"
    headers: dict[str, str] | None = None
    json: Json = msgspec.UNSET
    body: str | None = None
    timeout_s: float = TIMEOUT_S
    redirects: int = 0


def plan_request(call: Call, task_id: str) -> Request:
    """Make the request. The task's id goes along as `Idempotency-Key`, the same for every attempt, so that the other
    side can tell a repeat; a key of the caller's takes its place.

    Raises:
        InputError: `payload_invalid` or `header_not_allowed`; names what cannot be, but no value.
    """
    headers = check_headers(call.headers)
    body, media_type = _encode_body(call)
    if body is not None and call.method in ("GET", "HEAD"):
        raise _invalid(f"a {call.method} request has no body: leave out `json` and `body`, or use another method")
    given = {name.lower() for name, _ in headers}
    if media_type is not None and "content-type" not in given:
        headers = (*headers, ("Content-Type", media_type))
    if "idempotency-key" not in given:
        headers = (*headers, ("Idempotency-Key", task_id))
    return Request(url=call.url, method=call.method, headers=headers, body=body, takes_all=True)


def plan_limits(call: Call, left_s: float | None) -> Limits:
    """Set the limits of a call in an attempt that has `left_s` seconds left, or any number of them.

    A server may think, or send slowly, as long as all is done in time.
    """
    total_s = call.timeout_s if left_s is None else max(LEAST_S, min(call.timeout_s, left_s - SPARE_S))
    return Limits(
        connect_s=min(CONNECT_S, total_s),
        headers_s=total_s,
        low_speed_bytes_per_s=0,
        redirects=call.redirects,
        total_s=total_s,
    )


def _encode_body(call: Call) -> tuple[bytes | None, str | None]:
    if call.json is not msgspec.UNSET:
        if call.body is not None:
            raise _invalid("a request has one body: give `json` or `body`, not both")
        return encode_json(call.json), "application/json"
    if call.body is not None:
        return call.body.encode(), "text/plain; charset=utf-8"
    return None, None


def _invalid(detail: str) -> InputError:
    return InputError(detail, code="payload_invalid")

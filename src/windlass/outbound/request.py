"""What is sent: one request, and what becomes of it when the answer redirects it. Pure."""

from __future__ import annotations

import msgspec

from windlass.outbound.failure import FailureClass, TransferFailed
from windlass.outbound.guard import Url


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `headers` and `body` are the caller's and stay with the first origin; `conditions` (Range, If-Range)
    are ours. With `takes_all` the receiver gets the answer whatever its status and its encoding; else it wants a file.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    takes_all: bool = False


def redirected(request: Request, status: int, origin: Url, *, leaves: bool) -> Request:
    """Give the request that follows a redirect of `status` by `origin`; `leaves` says that it goes to another origin.

    Raises:
        TransferFailed: `redirect_refused`; the body would go to an origin that the caller did not name.

    Source: RFC 9110, 15.4; that a POST becomes a GET on 301 and 302 is what every client does.
    """
    if (status == 303 and request.method != "HEAD") or (status in (301, 302) and request.method == "POST"):
        kept = tuple((name, value) for name, value in request.headers if not name.lower().startswith("content-"))
        request = msgspec.structs.replace(request, method="GET", headers=kept, body=None)
    if not leaves:
        return request
    if request.body is not None:
        raise TransferFailed(
            f"{origin.host} redirects a request with a body to another origin, which is not followed",
            code="redirect_refused",
            kind=FailureClass.PERMANENT,
        )
    return msgspec.structs.replace(request, headers=())

"""What a request says of who sends it. Decides nothing: that is `contracts.access.Access`."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from windlass.contracts.access import Caller
from windlass.core.access import holds_key
from windlass.errors import WindlassError
from windlass.http.call import Call

_SCHEME: Final = "bearer"
_OAUTH_PARAMETER: Final = b"access_token="
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for")


def caller_of(call: Call) -> Caller:
    """Read who sends a request. A request that says a proxy has passed it on is not of this machine.

    Raises:
        WindlassError: `unauthenticated`, a key stands in the query.
    """
    _check_query(call.scope["query_string"])
    peer = call.scope["client"]
    address = "" if peer is None else peer[0]
    is_local = is_loopback(address) and not any(call.header(name) for name in _FORWARDED)
    said = call.header(b"authorization")
    return Caller(address, is_local, None if said is None else _bearer(said))


def _check_query(query: bytes) -> None:
    """Refuse a key in the query, whether it is needed, right or wrong: logs and histories keep it there.

    Source: RFC 6750 § 5.3, RFC 9700 § 4.3.2.
    """
    if query and (query.startswith(_OAUTH_PARAMETER) or b"&" + _OAUTH_PARAMETER in query or _hides_key(query)):
        raise WindlassError(
            "a key has no place in a URL, where logs keep it: send it as `Authorization: Bearer wl_…`, and revoke this "
            "one",
            code="unauthenticated",
        )


def _hides_key(query: bytes) -> bool:
    return holds_key(unquote_to_bytes(query) if b"%" in query else query)


def _bearer(said: str) -> str:
    """Read the credentials behind `Bearer`; empty for any other scheme."""
    scheme, _, credentials = said.partition(" ")
    return credentials.strip(" ") if scheme.lower() == _SCHEME else ""


@lru_cache(maxsize=256)
def is_loopback(address: str) -> bool:
    """Whether what is at `address` is on this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("::ffff:127.0.0.1"), is_loopback("192.0.2.1"), is_loopback("")
    (True, True, False, False)
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def is_loopback_name(name: str) -> bool:
    """Whether a name or address, as a Host or an Origin spells it, is always that of the machine itself."""
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)

"""The url of a database: which hosts it names, and what of it may be shown. Connects to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from urllib.parse import parse_qsl, urlencode, urlsplit

_DEFAULT_PORT = "5432"


def single_hosts(url: str) -> Sequence[str]:
    """Split a url that names several hosts into one for each, so that one that is silent costs its own time alone.

    >>> single_hosts("postgresql://me:pw@a:1,b/jobs?target_session_attrs=primary")
    ['postgresql://me:pw@a:1/jobs?target_session_attrs=primary', 'postgresql://me:pw@b/jobs?target_session_attrs=primary']
    >>> single_hosts("postgresql:///jobs?host=a,b&port=1,2")
    ['postgresql:///jobs?host=a&port=1', 'postgresql:///jobs?host=b&port=2']
    """
    parts = urlsplit(url)
    user, at, places = parts.netloc.rpartition("@")
    if "," in places:
        return [parts._replace(netloc=f"{user}{at}{place}").geturl() for place in places.split(",")]
    query = dict(parse_qsl(parts.query))
    if "," not in query.get("host", ""):
        return [url]
    hosts, ports = query["host"].split(","), query.get("port", _DEFAULT_PORT).split(",")
    pairs = zip_longest(hosts, ports[: len(hosts)], fillvalue=ports[-1])
    address = url.partition("?")[0]
    return [f"{address}?{urlencode({**query, 'host': host, 'port': port}, safe='/')}" for host, port in pairs]


def place_of(url: str) -> str:
    """Give what of a url may be shown: hosts and name, without user, password and options.

    >>> place_of("postgresql://me:p@ss@a:1,b:2/jobs?password=x&host=c")
    'postgresql://a:1,b:2/jobs'
    >>> place_of("postgresql:///jobs?host=/run/postgresql&password=x")
    'postgresql:///jobs?host=/run/postgresql'
    >>> place_of("postgresql://me:a?b@host/jobs")
    'postgresql://...'
    """
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    if "@" in query and "@" not in address:
        return f"{scheme}://..."  # a password with a ? in it that is not written %3F
    # The last @ before the options: whoever forgot to write one in a password as %40 must not see it in a log.
    places = address.rpartition("@")[2]
    host = "" if places[:1] not in ("", "/") else dict(parse_qsl(query)).get("host", "")
    return f"{scheme}://{places}" + (f"?host={host}" if host else "")

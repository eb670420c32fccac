"""Wrong keys by the address they came from, so that who guesses is slowed down. Knows no keys."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

from windlass.core.bucket import Bucket, Rate
from windlass.core.limits import AUTH_ADDRESSES, AUTH_FAILURES, AUTH_FAILURES_PER_S
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_RATE: Final = Rate(burst=AUTH_FAILURES, per_s=AUTH_FAILURES_PER_S)
_SITE_BITS: Final = 64
"""Of an IPv6 address: whoever has one has all that begin with these."""

_log = get_logger()


class Failures:
    """A token bucket for each address that has failed lately."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def add(self, address: str, *, now_s: float) -> float:
        """Count a failure; give 0, or in how many seconds the address may fail again."""
        site = _site_of(address)
        bucket = self._buckets.pop(site, None) or Bucket.full(_RATE, now_s=now_s)
        self._buckets[site], wait_s = bucket.take(_RATE, now_s=now_s)
        if not wait_s and self._buckets[site].tokens < 1:  # said once for all that are refused now
            _log.warning(words.ACCESS_GUESSED, address=site)
        # LIMIT: who has not failed for longest is forgotten; by then its bucket is mostly full again.
        while len(self._buckets) > AUTH_ADDRESSES:
            self._buckets.popitem(last=False)
        return wait_s


def _site_of(address: str) -> str:
    """Name who stands behind an address.

    >>> _site_of("2001:db8:1:2:3:4:5:6"), _site_of("::ffff:192.0.2.1"), _site_of("192.0.2.1")
    ('2001:db8:1:2::', '192.0.2.1', '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    hidden = 128 - _SITE_BITS
    return str(ipaddress.IPv6Address(int(parsed) >> hidden << hidden))

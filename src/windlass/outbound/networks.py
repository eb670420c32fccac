"""The table of addresses that are not the public internet, and the forms that hide one address in another.

Pure: resolves nothing, connects to nothing. `ipaddress.is_global` is not used: on Python 3.11 it calls NAT64, 6to4 and
several other forms of private addresses global.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Row = tuple[Network, str]


class Refusal(msgspec.Struct, frozen=True):
    """A reason not to connect to `address`; `is_final` when no setting lifts it."""

    address: Address
    what: str
    is_final: bool = False


def _table(rows: dict[str, str]) -> tuple[Row, ...]:
    return tuple((ip_network(network), what) for network, what in rows.items())


# Sources: IANA special-purpose address registries, RFC 6890; the metadata addresses are the clouds' own documents'.
_NEVER = _table(
    {
        "169.254.169.254/32": "a cloud metadata address",
        "169.254.170.2/32": "a cloud metadata address",
        "168.63.129.16/32": "a cloud metadata address",
        "100.100.100.200/32": "a cloud metadata address",
        "192.0.0.192/32": "a cloud metadata address",
        "fd00:ec2::254/128": "a cloud metadata address",
        "fd20:ce::254/128": "a cloud metadata address",
        "fd00:c1::a9fe:a9fe/128": "a cloud metadata address",
        "0.0.0.0/8": "an unspecified address",
        "::/128": "an unspecified address",
        "224.0.0.0/4": "a multicast address",
        "ff00::/8": "a multicast address",
        "255.255.255.255/32": "the broadcast address",
        "240.0.0.0/4": "a reserved address",
    }
)
_UNLESS_ALLOWED = _table(
    {
        "127.0.0.0/8": "a loopback address",
        "::1/128": "a loopback address",
        "169.254.0.0/16": "a link-local address",
        "fe80::/10": "a link-local address",
        "10.0.0.0/8": "a private address",
        "172.16.0.0/12": "a private address",
        "192.168.0.0/16": "a private address",
        "fc00::/7": "a private address",
        "fec0::/10": "a site-local address",
        "100.64.0.0/10": "an address of a carrier's inner network",
        "192.0.0.0/24": "an address of a protocol",
        "2001::/23": "an address of a protocol",
        "192.0.2.0/24": "an address for documentation",
        "198.51.100.0/24": "an address for documentation",
        "203.0.113.0/24": "an address for documentation",
        "2001:db8::/32": "an address for documentation",
        "3fff::/20": "an address for documentation",
        "198.18.0.0/15": "an address for benchmarks",
        "192.88.99.0/24": "a 6to4 relay address",
    }
)
_TUNNELS = _table(
    {
        "::ffff:0:0/96": "an IPv4-mapped address",
        "::ffff:0:0:0/96": "an IPv4-translated address",
        "64:ff9b::/96": "a NAT64 address",
        "64:ff9b:1::/48": "a NAT64 address",
        "2002::/16": "a 6to4 address",
        "2001::/32": "a Teredo address",
    }
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_COMPATIBLE = IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
_UNSET = IPv4Network("0.0.0.0/8")


def refusals(address: Address) -> Iterator[Refusal]:
    """Give every reason not to connect to `address` and to the addresses it may stand for, the outermost first."""
    refusal = _refuse(address)
    if refusal is not None:
        yield refusal
    if isinstance(address, IPv6Address):
        for inner in _embedded(address):
            yield from refusals(inner)


def _refuse(address: Address) -> Refusal | None:
    for network, what in _NEVER:
        if address in network:
            return Refusal(address, what, is_final=True)
    for network, what in _TUNNELS + _UNLESS_ALLOWED:
        if address in network:
            return Refusal(address, what)
    if isinstance(address, IPv6Address):
        if _is_isatap(address):
            return Refusal(address, "an ISATAP address")
        if address not in _GLOBAL_V6:
            return Refusal(address, "an address outside the public range")
    return None


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFFFFFF in _ISATAP


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    """Give the IPv4 addresses that a gateway, a relay or the kernel might reach instead of `address`."""
    raw, value = address.packed, int(address)
    found: list[bytes] = []
    if address in IPv6Network("2002::/16"):
        found.append(raw[2:6])
    elif address in IPv6Network("2001::/32"):
        found += [raw[4:8], bytes(byte ^ 0xFF for byte in raw[12:])]
    elif address in IPv6Network("64:ff9b:1::/48"):
        # Source: RFC 6052 § 2.2; which of its layouts the gateway uses, only the gateway knows.
        layouts = [raw[6:8] + raw[9:11], raw[7:8] + raw[9:12], raw[9:13], raw[12:]]
        found += [layout for layout in layouts if IPv4Address(layout) not in _UNSET] or [raw[12:]]
    elif value > 1 and (address in _COMPATIBLE or any(address in network for network, _ in _TUNNELS)):
        found.append(raw[12:])
    if _is_isatap(address):
        found.append(raw[12:])
    return [IPv4Address(layout) for layout in found]

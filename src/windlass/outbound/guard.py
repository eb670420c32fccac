"""Judges urls and addresses before anything is sent to them: the gate of every outbound connection.

Opens no sockets. A url is read once, by one parser, and what was read is what is used; the judgement that counts is the
one of the address a socket is about to connect to, whatever the url was spelled like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import quote

import msgspec

from windlass.errors import ConfigError, InputError, WindlassError
from windlass.outbound.networks import Address, Network, Refusal, refusals

URL_CHARS = 8192
"""LIMIT: signed urls take about three thousand; more is no url that a server accepts."""
SETTING = "WINDLASS_OUTBOUND__ALLOW"
DEFAULT_PORTS = {"http": 80, "https": 443}
SERVICE_PORTS = frozenset({2049, 2375, 2376, 2379, 2380, 3306, 5432, 6000, 6379, 9200, 9300, 10250, 11211, 27017})
"""Ports from 1024 on that belong to inner services and not to web servers; below 1024 only 80 and 443 are open."""

Resolver = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a name, or raises OSError."""


class DestinationBlocked(WindlassError):
    """An address that windlass does not connect to; the detail names the setting that would allow it."""

    code = "destination_blocked"


class Url(msgspec.Struct, frozen=True):
    """A url that was checked. `host` is ASCII in lower case, IPv6 without brackets; `target` starts with a slash."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must stay the same for credentials to be sent again."""
        return self.scheme, self.host, self.port

    @property
    def root(self) -> str:
        """The url up to its target."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def text(self) -> str:
        """The url as it is requested."""
        return self.root + self.target


def check_url(text: str) -> Url:
    """Read a url strictly.

    Raises:
        InputError: `url_not_allowed`; says which rule it breaks, and repeats nothing of the url that may be secret.
    """
    if len(text) > URL_CHARS:
        raise _not_allowed(f"the url has {len(text):,} characters; {URL_CHARS:,} are the most")
    if any(character == "\\" or character.isspace() or _is_control(character) for character in text):
        raise _not_allowed("the url holds a space, a control character or a backslash; percent-encode it")
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in DEFAULT_PORTS:
        raise _not_allowed("the url must begin with http:// or https://")
    authority, target = _cut(rest)
    host, port = _read_authority(authority)
    return Url(scheme, _read_host(host), DEFAULT_PORTS[scheme] if port is None else port, target)


def redirect_url(base: Url, location: str) -> Url:
    """Read the `Location` that `base` answered with.

    Raises:
        InputError: `url_not_allowed`; it is no url of ours, or leads from https to http.
    """
    location = location.strip(" \t").replace(" ", "%20")
    if not location:
        raise _not_allowed(f"{base.host} redirects to nowhere: its Location is empty")
    try:
        url = check_url(_join(base, location))
    except InputError as error:
        raise _not_allowed(f"{base.host} redirects to a url that is not allowed: {error.detail}") from None
    if base.scheme == "https" and url.scheme == "http":
        raise _not_allowed(f"{base.host} redirects from https to http, which would give up encryption")
    return url


def _join(base: Url, location: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", location):
        return location
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    if location.startswith("/"):
        return base.root + location
    path = base.target.partition("?")[0]
    folder = path if location[0] in "?#" else path.rpartition("/")[0] + "/"
    return base.root + folder + location


def _not_allowed(detail: str) -> InputError:
    return InputError(detail, code="url_not_allowed")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _cut(rest: str) -> tuple[str, str]:
    """Split what follows `scheme://` into the authority and the target, without its fragment."""
    match = re.search(r"[/?#]", rest)
    if match is None:
        return rest, "/"
    authority, target = rest[: match.start()], rest[match.start() :]
    if target.startswith("#"):
        raise _not_allowed("the url has a # right after its host; write a / between them")
    target = target.partition("#")[0]
    if target.startswith("?"):
        target = "/" + target
    return authority, quote(target, safe="!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")


def _read_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise _not_allowed("the url holds a user or password; send them in `headers` as Authorization")
    if "%" in authority:
        raise _not_allowed("the url has a % in its host")
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?", authority, re.ASCII)
    if match is None:
        raise _not_allowed("the url's host or port cannot be read")
    host, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and not 1 <= port <= 65535:
        raise _not_allowed("the url's port must be from 1 to 65535")
    return host, port


def _read_host(host: str) -> str:
    """Give the host in its one ASCII spelling."""
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise _not_allowed("the url's host is no IPv6 address") from None
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise _not_allowed("the url's host is no name that IDNA can spell") from None
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if not host or len(host) > 253 or not all(re.fullmatch(r"[a-z0-9_-]{1,63}", label) for label in labels):
        raise _not_allowed("the url has no host, or one with characters that no host name has")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        # A name that ends in a number is an IPv4 address in one of its many spellings: only the plain one is taken.
        try:
            return str(ip_address(host))
        except ValueError:
            raise _not_allowed(
                "the url's host is an IPv4 address in an unusual spelling; write it as a.b.c.d"
            ) from None
    return host


class Guard:
    """Says which addresses may be connected to. `allow` lists networks that are not public and may be reached all the
    same; it also opens every port there.

    Concurrency: immutable; may be used from any thread.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        try:
            self._allow: tuple[Network, ...] = tuple(ip_network(network) for network in allow)
        except ValueError as error:
            raise ConfigError(f"outbound.allow: {error}; write for example 10.0.0.0/8") from None

    def judge(self, address: str | Address, port: int | None = None, *, name: str | None = None) -> None:
        """Let an address pass, and the port when one is given; `name` is what was resolved to it.

        Raises:
            DestinationBlocked: it is not public and not allowed.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            raise DestinationBlocked(f"'{address}' is no address that can be judged") from None
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            raise DestinationBlocked(f"{parsed} is an address of one link, which windlass never connects to")
        standing = [refusal for refusal in refusals(parsed) if refusal.is_final or not self._allows(refusal.address)]
        if standing:
            raise DestinationBlocked(self._explain(parsed, standing, name))
        if port is not None and not _is_web_port(port) and not self._allows(parsed):
            raise DestinationBlocked(
                f"port {port} is not one that web servers use, so windlass does not connect to it; "
                + self._remedy([parsed])
            )

    def resolve(self, url: Url, resolver: Resolver) -> list[str]:
        """Give the addresses of the url's host, all of them judged: one that is refused refuses the name.

        Raises:
            DestinationBlocked: an answer may not be connected to.
            OSError: the resolver's; an empty list means that it had no answer.
        """
        try:
            answers = [str(ip_address(url.host))]
        except ValueError:
            answers = list(dict.fromkeys(resolver(url.host, url.port)))
        for answer in answers:
            self.judge(answer, url.port, name=None if answer == url.host else url.host)
        return answers

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self._allow)

    def _explain(self, address: Address, standing: list[Refusal], name: str | None) -> str:
        worst = next((refusal for refusal in standing if refusal.is_final), standing[0])
        said = f"{address} is {worst.what}" if name is None else f"{name} resolves to {address}, {worst.what}"
        if worst.address != address:
            said = f"{name or 'the url'} leads by {address} to {worst.address}, {worst.what}"
        if worst.is_final:
            return f"{said}; windlass never connects there"
        return f"{said}, which windlass does not connect to; {self._remedy([refusal.address for refusal in standing])}"

    def _remedy(self, addresses: Iterable[Address]) -> str:
        wanted = ",".join(str(ip_network(address)) for address in addresses)
        # What is allowed already is nobody's business who only submits tasks.
        return f"add {wanted} to {SETTING} to allow it" if self._allow else f"set {SETTING}={wanted} to allow it"


def _is_web_port(port: int) -> bool:
    return port in DEFAULT_PORTS.values() or (port >= 1024 and port not in SERVICE_PORTS)

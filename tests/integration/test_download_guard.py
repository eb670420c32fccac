"""The outbound connections themselves: no packet to an address that is not allowed, whatever leads there."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from download_server import LOOPBACK, FileServer, head, raw, redirect, serve, silent, status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from windlass.errors import InputError, WindlassError
from windlass.outbound.failure import FailureClass, TransferFailed, TransferStopped
from windlass.outbound.guard import DestinationBlocked, Guard, Resolver, Url
from windlass.outbound.head import Head
from windlass.outbound.transport import Limits, Request, Transport, system_resolver

CONTENT = b"content" * 1000
LIMITS = Limits(connect_s=2, headers_s=1, low_speed_s=1, redirects=5)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


class Body:
    """A receiver that keeps everything."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.content = b""

    def begin(self, head: Head, url: Url) -> bool:
        self.head = head
        return True

    def write(self, chunk: memoryview) -> None:
        self.content += chunk


def fetch(
    url: str,
    *,
    allow: Sequence[str] = LOOPBACK,
    headers: tuple[tuple[str, str], ...] = (),
    resolver: Resolver = system_resolver,
    guard: Guard | None = None,
) -> bytes:
    body = Body()
    transport = Transport(guard or Guard(allow), LIMITS, resolver=resolver)
    transport.fetch(Request(url=url, headers=headers), body, lambda: False)
    return body.content


def spellings(port: int) -> st.SearchStrategy[str]:
    """Urls that lead to loopback or the unspecified address, in spellings that resolvers and kernels understand."""

    def spell(address: int) -> st.SearchStrategy[str]:
        a, b, c, d = IPv4Address(address).packed
        plain = str(IPv4Address(address))
        hosts = [
            plain,
            plain + ".",
            str(address),
            hex(address),
            oct(address).replace("0o", "0"),
            f"{a}.{address & 0xFFFFFF}",
            f"{a}.{b}.{c << 8 | d}",
            f"0x{a:x}.{b}.{c}.{d}",
            f"0{a:o}.0{b:o}.{c}.{d}",
            f"{a}.{b}.{c}.00{d}",
            plain.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)}),
            plain.replace(".", "。"),
            f"[::ffff:{plain}]",
            f"[::ffff:0:{plain}]",
            f"[::{plain}]",
            f"[64:ff9b::{plain}]",
            f"[64:ff9b:1::{plain}]",
            f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]",
            f"[fe80::5efe:{plain}]",
            "[::1]",
            "[::]",
            "localhost",
            "LOCALHOST.",
            f"example.org@{plain}",
            f"example.org%40{plain}",
            f"example.org\\@{plain}",
            f"{plain}#@example.org",
        ]
        return st.sampled_from(hosts)

    addresses = st.one_of(st.integers(0x7F000000, 0x7FFFFFFF), st.just(0x7F000001), st.integers(0, 0xFFFF))
    schemes = st.sampled_from(["http", "HTTP", "https"])
    return st.builds(lambda scheme, host: f"{scheme}://{host}:{port}/", schemes, addresses.flatmap(spell))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_spelling_of_loopback_reaches_it(server: FileServer, data: st.DataObject) -> None:
    with pytest.raises(WindlassError):
        fetch(data.draw(spellings(server.port)), allow=[])
    assert server.connections == 0


def test_a_refusal_names_the_setting_that_would_allow_it(server: FileServer) -> None:
    with pytest.raises(DestinationBlocked) as refusal:
        fetch(server.url("/"), allow=[])
    assert refusal.value.detail == (
        "127.0.0.1 is a loopback address, which windlass does not connect to; "
        "set WINDLASS_OUTBOUND__ALLOW=127.0.0.1/32 to allow it"
    )


def test_a_redirect_to_an_address_not_allowed_is_not_followed(server: FileServer) -> None:
    with socket.create_server(("127.0.0.2", 0)) as inner:
        inner.settimeout(0.1)
        port = inner.getsockname()[1]
        for location in (f"http://127.0.0.2:{port}/", f"//127.0.0.2:{port}/", f"http://[::ffff:127.0.0.2]:{port}/"):
            with pytest.raises(DestinationBlocked):
                fetch(server.on("/", redirect(location)), allow=["127.0.0.1/32"])
        with pytest.raises(TimeoutError):
            inner.accept()


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "data:,x",
        "",
        "http://",
        "http://user@127.0.0.1/",
    ],
)
def test_a_redirect_to_something_else_than_a_plain_url_is_refused(server: FileServer, location: str) -> None:
    with pytest.raises(InputError) as refusal:
        fetch(server.on("/", redirect(location)))
    assert refusal.value.code == "url_not_allowed"


def test_a_redirect_with_two_locations_is_refused(server: FileServer) -> None:
    with pytest.raises(TransferFailed, match="no proper HTTP"):
        fetch(server.on("/", status(302, "Location: /a", "Location: /b")))


def test_redirects_end(server: FileServer) -> None:
    with pytest.raises(TransferFailed) as failure:
        fetch(server.on("/loop", redirect("/loop")))
    assert (failure.value.code, failure.value.kind) == ("too_many_redirects", FailureClass.PERMANENT)
    assert len(server.requests) == 6


def test_the_callers_headers_stay_with_the_first_origin(server: FileServer) -> None:
    with FileServer() as other:
        server.on("/1", redirect("/2"))
        server.on("/2", redirect(other.url("/3")))
        other.on("/3", redirect(server.url("/4")))
        server.on("/4", serve(CONTENT))
        assert fetch(server.url("/1"), headers=(("Authorization", "s3cret"),)) == CONTENT
        assert [request.get("authorization") for request in server.requests] == ["s3cret", "s3cret", None]
        assert other.requests[0].get("authorization") is None


# ── names ──────────────────────────────────────────────────────────


def test_a_name_is_connected_to_at_the_address_that_was_judged(server: FileServer) -> None:
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    server.on("/", serve(CONTENT))
    assert fetch(f"http://files.invalid:{server.port}/", resolver=resolver) == CONTENT
    assert asked == [("files.invalid", server.port)]
    assert server.requests[0].get("host") == f"files.invalid:{server.port}"


@pytest.mark.parametrize(
    "answers", [["127.0.0.2"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1", "::1"], ["127.0.0.1", "x"]]
)
def test_one_answer_that_is_not_allowed_refuses_the_name(server: FileServer, answers: list[str]) -> None:
    with pytest.raises(DestinationBlocked):
        fetch(f"http://files.invalid:{server.port}/", allow=["127.0.0.1/32"], resolver=lambda *_: answers)
    assert server.connections == 0


def test_a_name_with_a_thousand_answers_is_judged_whole(server: FileServer) -> None:
    server.on("/", serve(CONTENT))
    url = f"http://files.invalid:{server.port}/"
    assert fetch(url, resolver=lambda *_: ["127.0.0.1"] * 1000) == CONTENT
    with pytest.raises(DestinationBlocked):
        fetch(url, resolver=lambda *_: ["127.0.0.1"] * 1000 + ["10.0.0.1"])


def test_the_socket_itself_is_judged_again(server: FileServer) -> None:
    class Careless(Guard):
        def resolve(self, url: Url, resolver: Resolver) -> list[str]:
            return ["127.0.0.1"]

    with pytest.raises(DestinationBlocked, match=r"^files\.invalid resolves to 127\.0\.0\.1, a loopback address"):
        fetch(f"http://files.invalid:{server.port}/", guard=Careless())
    assert server.connections == 0


@pytest.mark.parametrize(
    "answer", [socket.gaierror(socket.EAI_NONAME, "no name"), socket.gaierror(socket.EAI_AGAIN, "again"), None]
)
def test_a_name_without_an_answer_is_no_such_host(answer: OSError | None) -> None:
    def resolver(host: str, port: int) -> list[str]:
        if answer is not None:
            raise answer
        return []

    with pytest.raises(TransferFailed) as failure:
        fetch("http://files.invalid/", resolver=resolver)
    assert (failure.value.code, failure.value.kind) == ("no_such_host", FailureClass.UNREACHABLE)
    assert "files.invalid" in failure.value.detail


# ── the environment ────────────────────────────────────────────────


def test_neither_proxies_nor_netrc_nor_cookies_of_the_environment_are_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        server.on("/", serve(CONTENT, "Set-Cookie: a=b"))
        assert [fetch(server.url("/")), fetch(server.url("/"))] == [CONTENT, CONTENT]
        assert proxy.connections == 0
    assert not {"authorization", "cookie"} & set(server.requests[0].headers) | set(server.requests[1].headers) & {
        "cookie"
    }


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True, timeout=15)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate, key)
    with FileServer() as server:
        server.tls = trust
        server.on("/", serve(CONTENT))
        with pytest.raises(TransferFailed) as failure:
            fetch(server.url("/").replace("http:", "https:"))
        assert server.requests == []
    assert (failure.value.code, failure.value.kind) == ("tls_failed", FailureClass.PERMANENT)


# ── time ───────────────────────────────────────────────────────────


def test_a_server_that_never_answers_is_left(server: FileServer) -> None:
    began_at = time.monotonic()
    with pytest.raises(TransferFailed, match="did not answer within") as failure:
        fetch(server.on("/", silent))
    assert (failure.value.code, failure.value.kind) == ("too_slow", FailureClass.TRANSIENT)
    assert time.monotonic() - began_at < 6


def test_a_body_that_trickles_is_left_and_what_came_is_kept(server: FileServer) -> None:
    def trickle(connection: socket.socket, request: object) -> None:
        connection.sendall(head(200, "Content-Length: 100000"))
        for _ in range(200):
            connection.sendall(b"x")
            time.sleep(0.05)

    body = Body()
    transport = Transport(Guard(LOOPBACK), LIMITS)
    with pytest.raises(TransferFailed, match="sent less than 1,024 bytes/s for 1 s"):
        transport.fetch(Request(url=server.on("/", trickle)), body, lambda: False)
    assert body.content.startswith(b"xx")


def test_headers_that_trickle_are_left(server: FileServer) -> None:
    def trickle(connection: socket.socket, request: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            connection.sendall(b"X: " + b"y" * 500 + b"\r\n")
            time.sleep(0.1)

    limits = Limits(connect_s=0.5, headers_s=0.5, low_speed_s=30)
    with pytest.raises(TransferFailed, match="did not answer within 1 s"):
        Transport(Guard(LOOPBACK), limits).fetch(Request(url=server.on("/", trickle)), Body(), lambda: False)


def test_a_stop_ends_a_transfer_and_keeps_what_came(server: FileServer) -> None:
    body = Body()

    def should_stop() -> bool:
        return len(body.content) == 3

    def stuck(connection: socket.socket, request: object) -> None:
        raw(head(200, "Content-Length: 9"), b"abc")(connection, request)  # type: ignore[arg-type]
        silent(connection, request)  # type: ignore[arg-type]

    with pytest.raises(TransferStopped):
        Transport(Guard(LOOPBACK), LIMITS).fetch(Request(url=server.on("/", stuck)), body, should_stop)
    assert body.content == b"abc"


def test_whatever_a_receiver_raises_comes_out_of_the_transfer(server: FileServer) -> None:
    class Broken(Body):
        def write(self, chunk: memoryview) -> None:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        Transport(Guard(LOOPBACK), LIMITS).fetch(Request(url=server.on("/", serve(CONTENT))), Broken(), lambda: False)

"""Which addresses and urls pass, judged without a network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.errors import ConfigError, InputError
from windlass.outbound.guard import DestinationBlocked, Guard, check_url, redirect_url

EVERYWHERE = ["0.0.0.0/0", "::/0"]


def refusal(address: str, allow: list[str] | None = None, **more: object) -> str:
    with pytest.raises(DestinationBlocked) as caught:
        Guard(allow or []).judge(address, **more)  # type: ignore[arg-type]
    assert caught.value.code == "destination_blocked"
    return caught.value.detail


# ── addresses ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450::1",
        "2003::1",
    ],
)
def test_public_addresses_pass(address: str) -> None:
    Guard().judge(address, 443)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.255.255", "private"),
        ("fc00::1", "private"),
        ("fdff::1", "private"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("100.64.0.1", "carrier"),
        ("192.0.0.8", "protocol"),
        ("2001:2::1", "protocol"),
        ("192.0.2.1", "documentation"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("198.19.255.255", "benchmarks"),
        ("192.88.99.1", "6to4 relay"),
        ("5f00::1", "outside the public range"),
        ("100::1", "outside the public range"),
        ("4000::1", "outside the public range"),
    ],
)
def test_addresses_that_are_not_public_need_to_be_allowed(address: str, what: str) -> None:
    assert what in refusal(address)
    Guard([str(ip_network(address))]).judge(address, 80)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("100.100.100.200", "metadata"),
        ("192.0.0.192", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::169.254.169.254", "metadata"),
        ("64:ff9b:1:a9fe:a9:fe00::", "metadata"),
        ("2002:a9fe:a9fe::1", "metadata"),
        ("2001:0:a9fe:a9fe::1", "metadata"),
        ("2001:0:808:808:0:0:5601:5601", "metadata"),
        ("2606:4700::5efe:169.254.169.254", "metadata"),
        ("::169.254.169.254", "metadata"),
        ("fe80::1%1", "one link"),
        ("not an address", "no address"),
        ("127.1", "no address"),
    ],
)
def test_some_addresses_are_refused_whatever_is_allowed(address: str, what: str) -> None:
    detail = refusal(address, EVERYWHERE)
    assert what in detail
    assert "WINDLASS_OUTBOUND__ALLOW" not in detail


@given(inner=st.integers(0, 2**32 - 1))
def test_an_address_inside_another_is_judged_like_the_plain_one(inner: int) -> None:
    plain = IPv4Address(inner)
    raw = plain.packed
    forms = [
        IPv6Address(bytes(10) + b"\xff\xff" + raw),
        IPv6Address(bytes(8) + b"\xff\xff\0\0" + raw),
        IPv6Address(b"\0\x64\xff\x9b" + bytes(8) + raw),
        IPv6Address(b"\0\x64\xff\x9b\0\x01" + bytes(6) + raw),
        IPv6Address(b"\x20\x02" + raw + bytes(10)),
        IPv6Address(b"\x20\x01\0\0" + b"\x01" * 8 + bytes(byte ^ 0xFF for byte in raw)),
        IPv6Address(b"\x2a\0\0\0\0\0\0\0\0\0\x5e\xfe" + raw),
        IPv6Address(b"\x2a\0\0\0\0\0\0\0\x02\0\x5e\xfe" + raw),
    ]
    shells = [
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "2a00::/16",
    ]
    try:
        Guard().judge(plain)
        is_public = True
    except DestinationBlocked:
        is_public = False
    for form in forms:
        assert refusal(str(form))
        if is_public:
            Guard(shells).judge(form)
        else:
            assert refusal(str(form), shells)


@given(address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_passes_is_global_by_pythons_table_too(address: IPv4Address | IPv6Address) -> None:
    try:
        Guard().judge(address)
    except DestinationBlocked:
        return
    assert address.is_global
    assert not address.is_multicast


@given(address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_a_refusal_advises_is_enough(address: IPv4Address | IPv6Address) -> None:
    try:
        Guard().judge(address)
    except DestinationBlocked as blocked:
        _, named, rest = blocked.detail.partition("WINDLASS_OUTBOUND__ALLOW=")
        if named:
            Guard(rest.split(" ")[0].split(",")).judge(address)


def test_a_refusal_tells_nothing_of_what_else_is_allowed() -> None:
    detail = refusal("127.0.0.1", ["10.9.8.0/24"])
    assert detail.endswith("add 127.0.0.1/32 to WINDLASS_OUTBOUND__ALLOW to allow it")
    assert "10.9.8" not in detail


def test_a_refusal_names_the_name_that_led_there() -> None:
    assert refusal("10.0.0.5", name="files.internal").startswith(
        "files.internal resolves to 10.0.0.5, a private address"
    )


@pytest.mark.parametrize("port", [1, 22, 25, 1023, 3306, 5432, 6379, 11211, 27017])
def test_ports_of_other_services_are_closed_unless_the_address_is_allowed(port: int) -> None:
    assert f"port {port} is not one that web servers use" in refusal("1.1.1.1", port=port)
    Guard(["1.1.1.1/32"]).judge("1.1.1.1", port)
    for open_port in (80, 443, 1024, 8080, 65535):
        Guard().judge("1.1.1.1", open_port)


def test_a_network_that_is_none_is_a_setting_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match=r"outbound\.allow: .*10\.0\.0\.0/8"):
        Guard(["10.0.0.1/8"])


# ── urls ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://example.org", "http://example.org/"),
        ("HTTP://EXAMPLE.org.:80/a", "http://example.org/a"),
        ("https://example.org:443/a?b#c", "https://example.org/a?b"),
        ("https://example.org:8443/%2e%2E/a", "https://example.org:8443/%2e%2E/a"),
        ("http://example.org?a=b", "http://example.org/?a=b"),
        ("http://[2606:4700::0001]:8080/", "http://[2606:4700::1]:8080/"),
        ("http://bücher.example/ü?ö=€", "http://xn--bcher-kva.example/%C3%BC?%C3%B6=%E2%82%AC"),
        ("http://a_b.example:/", "http://a_b.example/"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
    ],
)
def test_a_url_is_read_into_its_one_spelling(text: str, read: str) -> None:
    assert check_url(text).text == read
    assert check_url(read).text == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http:/example.org",
        "http:///x",
        "http://",
        "http://:80/",
        "http://./",
        "http://a..b/",
        "http://.a/",
        "http://user@example.org/",
        "http://user:pw@example.org/",
        "http://a\\@b/",
        "http://example.org\\b/",
        "http://ex%2Fample.com/",
        "http://127.0.0.1%2F@a/",
        "http://example.org#@b/",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org:99999999/",
        "http://example.org:8\u0660/",
        "http://example.org:80:80/",
        "http://[::1/",
        "http://::1/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        "http://exa mple.org/",
        "http://exa\tmple.org/",
        "http://example.org/\r\nHost: b",
        "http://example.org/\0",
        "http://example.org/\u202e",
        "http://example.org/\ud800",
        " http://example.org/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.01/",
        "http://1.2.3.4.5/",
        "http://a.1/",
        "http://exa$mple.org/",
        "http://" + "a" * 64 + ".org/",
        "http://" + "a." * 130 + "org/",
        "http://example.org/" + "a" * 9000,
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        check_url(text)
    assert refused.value.code == "url_not_allowed"
    assert "pw" not in refused.value.detail


@given(text=st.one_of(st.text(), st.text(alphabet="htps:/@[]#?%\\.a1é。①\t-").map("http://".__add__)))
def test_a_url_that_passes_is_ascii_and_reads_the_same_again(text: str) -> None:
    try:
        url = check_url(text)
    except InputError:
        return
    assert url.text.isascii()
    assert check_url(url.text) == url
    assert not set(url.host) & set("@/\\%?# ")


def test_an_ipv4_host_is_an_address_also_in_digits_of_another_script() -> None:
    assert ip_address(check_url("http://①②⑦.0.0.1/").host).is_loopback


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("d", "https://example.org:8443/a/b/d"),
        ("/d?e", "https://example.org:8443/d?e"),
        ("?e", "https://example.org:8443/a/b/c?e"),
        ("//other.example/d", "https://other.example/d"),
        ("https://other.example", "https://other.example/"),
        (" /with space ", "https://example.org:8443/with%20space"),
    ],
)
def test_a_redirect_is_read_from_where_it_came(location: str, url: str) -> None:
    assert redirect_url(check_url("https://example.org:8443/a/b/c?x"), location).text == url


@pytest.mark.parametrize(
    "location", ["", "  ", "http://example.org/", "javascript:x", "//user@b/", "/a\\b", "//127.1/"]
)
def test_a_redirect_elsewhere_is_refused(location: str) -> None:
    with pytest.raises(InputError) as refused:
        redirect_url(check_url("https://example.org/"), location)
    assert refused.value.code == "url_not_allowed"
    assert refused.value.detail.startswith("example.org redirects ")

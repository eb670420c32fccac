"""What goes out: no value, wherever it comes from, can end a header or begin another answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from http_front import BODY_BYTES, DictEngine, WallClock
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.config.dialects import Dialects
from windlass.engine.access import KeyRing
from windlass.http.call import Services
from windlass.http.middleware import Envelope, check_headers
from windlass.http.reply import Reply
from windlass.store.memory.keys import MemoryKeys

BREAKING = [b"\r\n", b"\n", b"\r", b"\0", b"\x1b", b"\x7f", b"\x0b", b"\x1f"]


def answer_with(name: bytes, value: bytes) -> list[Any]:
    """Have an app answer with one header, and give what leaves the envelope."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Reply(200, b"fine", [(name, value)])(scope, receive, send)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        services = Services(
            DictEngine(Path()),
            KeyRing(MemoryKeys(), WallClock()),
            WallClock(),
            body_bytes=BODY_BYTES,
            dialects=Dialects(),
            documents=(b"", b""),
        )
        await Envelope(app, services)({"method": "GET", "path": "/", "type": "http"}, None, send)  # type: ignore[arg-type]

    asyncio.run(run())
    return sent


@pytest.mark.parametrize("breaking", BREAKING)
@pytest.mark.parametrize("header", [b"location", b"content-disposition", b"x-windlass"])
def test_a_value_that_would_break_its_header_is_a_500_without_it(header: bytes, breaking: bytes):
    start, body = answer_with(header, b"a" + breaking + b"set-cookie: x=y")
    assert start["status"] == 500
    assert header not in dict(start["headers"])
    assert b'"code":"internal"' in body["body"]
    check_headers(start["headers"])


@pytest.mark.parametrize("name", [b"x y", b"x:y", b"x\r\ny", b"x\0", b"X", b"x\xff"])
def test_a_name_is_a_name(name: bytes):
    assert answer_with(name, b"a")[0]["status"] == 500


@settings(max_examples=1_000, deadline=None)
@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_whatever_passes_is_one_line(value: bytes):
    try:
        check_headers([(b"x-value", value)])
    except ValueError:
        assert any((byte < 32 and byte != 9) or byte == 127 for byte in value)
    else:
        assert not {b"\r", b"\n", b"\0"} & {value[at : at + 1] for at in range(len(value))}

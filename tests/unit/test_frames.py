"""The frames between server and worker: whole again however the bytes come, and nothing read that is not one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.config.schema import Outbound, WorkerSettings
from windlass.core.ids import TaskId, Token
from windlass.core.kind import Isolation, Kind
from windlass.core.limits import FRAME_BYTES
from windlass.core.outcome import Errored, Snoozed, Succeeded
from windlass.core.stop import StopReason
from windlass.core.task import Error, FileRow, Progress
from windlass.errors import WorkerError
from windlass.wire import frames
from windlass.wire.frames import Downward, Frame, Splitter, Upward, encode

unhurried = settings(max_examples=60, deadline=None, database=None)

TOKEN = Token("0123456789abcdef0123456789abcdef")
FILE = FileRow(index=3, name="a/b.bin", state="running", url="http://example.org/b", received_bytes=2**40, seconds=1.5)
ERROR = Error(type="ValueError", message="ünïcode and \x00", traceback="line 1\nline 2", exit="SIGSEGV")
KIND = Kind(name="download", app="windlass", version="1", schema=b'{"type":"object"}', isolation=Isolation.SHARED)

DOWNWARD: list[Downward] = [
    frames.Welcome(
        role=Isolation.SOLO,
        settings=msgspec.to_builtins(WorkerSettings(outbound=Outbound(allow=["127.0.0.0/8"]))),
    ),
    frames.Assign(
        task_id=TaskId("0192e4a0-0000-7000-8000-000000000001"),
        token=TOKEN,
        attempt=2,
        kind="download",
        payload=b'{"url":"x"}',
        directory="/data/files/1",
        deadline=datetime(2026, 11, 20, 15, 0, 0, 123456, tzinfo=UTC),
        checkpoint=b"7",
        files=[FILE],
    ),
    frames.Assign(task_id=TaskId("i"), token=TOKEN, attempt=1, kind="k", payload=b"{}", directory="d"),
    *(frames.Tell(TOKEN, reason) for reason in StopReason),
    frames.Saved(TOKEN, serial=9, accepted=False),
    frames.Retire(),
]
UPWARD: list[Upward] = [
    frames.Hello(app="tasks:app", version="3", kinds=[KIND, msgspec.structs.replace(KIND, timeout_s=None)]),
    frames.Hello(app="tasks:app", version="3", kinds=[]),
    frames.Unfit("ModuleNotFoundError: no module named 'tasks'"),
    frames.Accepted(TOKEN),
    frames.Report(TOKEN, Progress(done=1.5, total=12, unit="parts", message="…", at=datetime.now(UTC))),
    frames.Save(TOKEN, serial=9, checkpoint=b'{"part":7}'),
    frames.KeepFile(TOKEN, FILE),
    frames.Ended(TOKEN, Succeeded(b'{"rows":31000}')),
    frames.Ended(TOKEN, Errored(ERROR, retryable=False, retry_after_s=3.5), stopped=True),
    frames.Ended(TOKEN, Snoozed(30.0)),
    frames.Beat(0.25, TOKEN),
    frames.Beat(0.0),
]
SENT: list[tuple[Frame, bool]] = [*((frame, False) for frame in DOWNWARD), *((frame, True) for frame in UPWARD)]


def framed(body: bytes) -> bytes:
    """Put the length before `body`, as the other side would."""
    return len(body).to_bytes(4, "big") + body


def test_there_is_an_example_of_every_frame() -> None:
    assert {type(frame) for frame in DOWNWARD} == set(get_args(Downward))
    assert {type(frame) for frame in UPWARD} == set(get_args(Upward))


@pytest.mark.parametrize(("frame", "upward"), SENT, ids=[type(frame).__name__ for frame, _ in SENT])
def test_a_frame_arrives_as_it_was_sent(frame: Frame, upward: bool) -> None:
    assert list(Splitter(upward=upward).feed(encode(frame))) == [frame]


@pytest.mark.parametrize(("frame", "upward"), SENT, ids=[type(frame).__name__ for frame, _ in SENT])
def test_a_frame_sent_the_wrong_way_is_refused(frame: Frame, upward: bool) -> None:
    with pytest.raises(WorkerError):
        list(Splitter(upward=not upward).feed(encode(frame)))


@pytest.mark.parametrize(("frame", "upward"), SENT, ids=[type(frame).__name__ for frame, _ in SENT])
def test_a_frame_cut_anywhere_arrives_whole_and_only_then(frame: Frame, upward: bool) -> None:
    sent = encode(frame)
    for cut in range(1, len(sent)):
        splitter = Splitter(upward=upward)
        assert list(splitter.feed(sent[:cut])) == []
        assert list(splitter.feed(sent[cut:])) == [frame]


def test_frames_that_come_byte_by_byte_arrive_in_order() -> None:
    splitter = Splitter(upward=True)
    sent = b"".join(map(encode, UPWARD))
    arrived = [frame for at in range(len(sent)) for frame in splitter.feed(sent[at : at + 1])]
    assert arrived == UPWARD


def test_frames_that_come_all_at_once_arrive_in_order() -> None:
    sent = b"".join(map(encode, DOWNWARD))
    assert list(Splitter(upward=False).feed(sent)) == DOWNWARD


def test_whole_frames_arrive_before_the_rest_of_a_cut_one_is_there() -> None:
    first, second = encode(frames.Accepted(TOKEN)), encode(frames.Beat(1.0))
    splitter = Splitter(upward=True)
    assert list(splitter.feed(first + second[:5])) == [frames.Accepted(TOKEN)]
    assert list(splitter.feed(second[5:])) == [frames.Beat(1.0)]


@unhurried
@given(st.lists(st.sampled_from(UPWARD), max_size=8), st.data())
def test_it_does_not_matter_how_the_stream_is_cut(sent: list[Upward], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    splitter = Splitter(upward=True)
    arrived = [
        frame
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for frame in splitter.feed(stream[begin:end])
    ]
    assert arrived == sent


def test_a_header_that_announces_too_much_is_refused_before_any_of_it_comes() -> None:
    for size in (FRAME_BYTES + 1, 2**32 - 1):
        with pytest.raises(WorkerError, match="announces") as refused:
            list(Splitter(upward=True).feed(size.to_bytes(4, "big")))
        assert refused.value.code == "protocol_error"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x93",
        b"GET / HTTP/1.1\r\n",
        msgspec.msgpack.encode({"type": "Ended"}),
        msgspec.msgpack.encode({"type": "Shutdown"}),
        msgspec.msgpack.encode({"type": "Beat", "lag_s": "soon"}),
        msgspec.msgpack.encode({"type": "Beat", "lag_s": 1.0}) + b"\x00",
        msgspec.msgpack.encode({"type": "Ended", "token": "t", "outcome": {"type": "Lost", "error": {}}}),
        b"\x82\xa4type\xa5Unfit\xa6detail\xa1\xff",
        b"\x82\xa4type\xa5Unfit\xa1x" + b"\x91" * 200_000 + b"\xc0",
        b"\x82\xa4type\xa5Unfit\xa6detail\xdb\xff\xff\xff\xff",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("upward", [True, False])
def test_what_is_no_frame_is_a_broken_protocol_and_nothing_else(body: bytes, upward: bool) -> None:
    with pytest.raises(WorkerError) as refused:
        list(Splitter(upward=upward).feed(framed(body)))
    assert refused.value.code == "protocol_error"


def test_settings_nested_without_end_are_a_broken_protocol() -> None:
    body = b"\x82\xa4type\xa7Welcome\xa8settings\x81\xa1a" + b"\x91" * 200_000 + b"\xc0"
    with pytest.raises(WorkerError, match="cannot be read"):
        list(Splitter(upward=False).feed(framed(body)))


@unhurried
@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_waited_for_or_refused(garbage: bytes, upward: bool) -> None:
    for sent in (garbage, framed(garbage)):
        with suppress(WorkerError):
            list(Splitter(upward=upward).feed(sent))


@unhurried
@given(st.sampled_from(UPWARD), st.data())
def test_a_damaged_frame_is_read_as_a_frame_or_refused(frame: Upward, data: st.DataObject) -> None:
    body = bytearray(encode(frame)[4:])
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WorkerError):
        [read] = Splitter(upward=True).feed(framed(bytes(body)))
        assert isinstance(read, get_args(Upward))


def test_a_frame_larger_than_a_frame_may_be_is_refused_before_it_is_sent() -> None:
    with pytest.raises(WorkerError, match="is over the 16,777,216 allowed") as refused:
        encode(frames.Save(TOKEN, serial=1, checkpoint=bytes(FRAME_BYTES)))
    assert refused.value.code == "frame_too_large"


def test_the_largest_frame_arrives() -> None:
    small = len(encode(frames.Save(TOKEN, serial=1, checkpoint=bytes(100_000)))) - 4 - 100_000
    frame = frames.Save(TOKEN, serial=1, checkpoint=bytes(FRAME_BYTES - small))
    sent = encode(frame)
    assert len(sent) == FRAME_BYTES + 4
    assert list(Splitter(upward=True).feed(sent)) == [frame]


def test_a_field_that_a_newer_side_adds_is_passed_over() -> None:
    body = msgspec.msgpack.encode({"type": "Accepted", "token": TOKEN, "mood": "good"})
    assert list(Splitter(upward=True).feed(framed(body))) == [frames.Accepted(TOKEN)]

"""The kind that does nothing for a while, as its users rely on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from download_server import RecordingHost, make_context

from windlass.app.context import BuiltinContext
from windlass.app.signals import Fail
from windlass.config.schema import Simulate
from windlass.handlers.app import app
from windlass.handlers.simulate import SimulatedFailure, simulate

pytestmark = pytest.mark.anyio


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()


@pytest.fixture
def ctx(host: RecordingHost, tmp_path: Path) -> BuiltinContext:
    return make_context(tmp_path, host)


async def test_it_takes_its_time_and_succeeds(ctx: BuiltinContext, host: RecordingHost) -> None:
    result = await simulate(0.6, echo={"a": [1]}, ctx=ctx)
    assert 0.6 <= result["slept_s"] < 2
    assert result["echo"] == {"a": [1]}
    shares = [report.done for report in host.reports]
    assert (shares[0], shares[-1], host.reports[-1].total) == (0, 100, 100)
    assert shares == sorted(shares)
    assert len(shares) > 3


async def test_a_duration_may_be_a_range(ctx: BuiltinContext) -> None:
    slept = [(await simulate([0.01, 0.2], ctx=ctx))["slept_s"] for _ in range(5)]
    assert len(set(slept)) > 1
    assert all(0.01 <= value < 1 for value in slept)


async def test_it_fails_as_often_as_it_was_asked_to(ctx: BuiltinContext) -> None:
    with pytest.raises(SimulatedFailure, match="at a rate of 1"):
        await simulate(0, 1.0, ctx=ctx)
    for _ in range(50):
        await simulate(0, 0.0, ctx=ctx)


async def test_it_fails_for_good_with_the_message_it_was_given(ctx: BuiltinContext) -> None:
    with pytest.raises(Fail, match="out of paper") as failure:
        await simulate(0, fail="out of paper", ctx=ctx)
    assert failure.value.code == "simulated"


async def test_settings_override_what_the_payload_asks_for(host: RecordingHost, tmp_path: Path) -> None:
    ctx = make_context(tmp_path, host, simulate=Simulate(duration_s=[0.0], failure_rate=0.0))
    result = await asyncio.wait_for(simulate([180, 300], 1.0, ctx=ctx), 2)
    assert result["slept_s"] < 1
    failing = make_context(tmp_path, host, simulate=Simulate(duration_s=[0.0, 0.01], failure_rate=1.0))
    with pytest.raises(SimulatedFailure):
        await simulate(300, ctx=failing)


@pytest.mark.parametrize("arguments", [{"duration_s": 600}, {"duration_s": 0, "hang": True}])
async def test_it_ends_when_told_to(ctx: BuiltinContext, arguments: dict[str, Any]) -> None:
    work = asyncio.create_task(simulate(**arguments, ctx=ctx))
    await asyncio.sleep(0.05)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 1)


async def test_it_hangs_on_stubbornly_when_asked_to() -> None:
    """In a loop of its own: nothing can end it there but the end of the loop."""
    ended = False

    async def hang(ctx: BuiltinContext) -> None:
        nonlocal ended
        await simulate(0, hang="stubborn", ctx=ctx)
        ended = True

    work = asyncio.create_task(hang(make_context(Path("unused"), RecordingHost())))
    for _ in range(3):
        await asyncio.sleep(0.01)
        work.cancel()
    await asyncio.sleep(0.01)
    assert not work.done()
    assert not ended
    work.get_coro().close()


@pytest.mark.parametrize(
    "payload",
    [
        b'{"duration_s": -1}',
        b'{"duration_s": [1]}',
        b'{"duration_s": [1, 2, 3]}',
        b'{"failure_rate": 1.5}',
        b'{"steps": 0}',
        b'{"hang": "politely"}',
        b'{"sleep": 1}',
    ],
)
async def test_a_payload_that_is_not_understood_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        app.handlers["simulate"].signature.decode(payload)


async def test_the_built_in_kinds_run_beside_others_and_say_what_they_do() -> None:
    kinds = {kind.name: kind for kind in app.kinds(app="windlass")}
    assert set(kinds) == {"download", "http", "simulate"}
    assert {kind.isolation for kind in kinds.values()} == {"shared"}
    assert (kinds["download"].timeout_s, kinds["simulate"].timeout_s) == (None, 900.0)
    assert all(kind.summary and kind.version for kind in kinds.values())
    assert app.handlers["simulate"].signature.decode(b'{"duration_s": [180, 300]}')["duration_s"] == [180.0, 300.0]

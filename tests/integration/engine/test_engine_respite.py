"""The time that a stop has: all there is before it begins, and for nobody more than is left of it."""

from __future__ import annotations

import asyncio

import pytest

from windlass.engine.respite import Respite

pytestmark = pytest.mark.anyio


async def test_a_step_is_given_up_at_the_end_and_told_so() -> None:
    respite, silent = Respite(), asyncio.Event()
    respite.begin(0.0)
    async with asyncio.timeout(5):
        assert not await respite.spend(_until(silent))
        assert not await respite.spend(_until(silent), beyond_s=0.01)
    assert await respite.spend(asyncio.sleep(0), beyond_s=60.0)


async def test_those_who_wait_already_are_cut_short_by_a_hurry_and_not_lengthened_by_a_later_end() -> None:
    respite, silent = Respite(), asyncio.Event()
    respite.begin(60.0)
    waiting = asyncio.create_task(respite.spend(_until(silent)))
    await asyncio.sleep(0)
    respite.begin(0.0)
    respite.begin(60.0)
    async with asyncio.timeout(5):
        assert not await waiting


async def test_without_an_end_a_step_is_waited_for_and_its_own_timeout_is_its_own() -> None:
    async def fails() -> None:
        raise TimeoutError

    respite, done = Respite(), asyncio.Event()
    waiting = asyncio.create_task(respite.spend(_until(done)))
    await asyncio.sleep(0)
    done.set()
    assert await waiting
    with pytest.raises(TimeoutError):
        await respite.spend(fails())


async def _until(event: asyncio.Event) -> None:
    await event.wait()

"""A connection that is cut at any message of a whole life, in every way: nothing lost, nothing twice, and nobody told.

The life goes on, since the store comes back by itself: a cut between COMMIT and its reply is asked for, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from pg_life import Life, Story, open_bench
from pg_messages import AWAITED, Message
from postgres import database, database_name, shared_postgres
from proxy import Act, Proxy, pass_all, proxy_to
from rotation import share, todays_turn

from windlass.errors import StoreUnavailable, StoreUncertain

pytestmark = pytest.mark.anyio

WAYS = (Act.CUT, Act.CUT_WITHIN, Act.CUT_AFTER, Act.SWALLOW)
TWICE = "SELECT number FROM windlass.tasks INTERSECT SELECT number FROM windlass.ended"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxy_to(shared_postgres().port) as proxy:
        yield proxy


class Cutter:
    """Lives one life after the other in a database, each cut at another message."""

    def __init__(self, proxy: Proxy, name: str) -> None:
        self._proxy = proxy
        self._url = shared_postgres().url(name, port=proxy.port)
        self._lives = 0
        self._sent: list[bytes] = []
        self._opened = 0

    async def live(self, place: int = 0, act: Act = Act.PASS) -> Story:
        """Open a store, live a life on it, and close it: the same messages each time, but for the cut at `place`."""

        def script(message: int, sent: Message) -> Act:
            self._sent.append(sent.kind)
            return act if message == place else Act.PASS

        self._lives += 1
        self._proxy.messages = 0
        self._proxy.script, self._sent = script, []
        try:
            async with open_bench(self._url, seed=self._lives * 10) as bench:
                self._opened = self._proxy.messages
                return await Life(bench, f"life-{self._lives}").live()
        except BaseException as error:
            error.add_note(f"{act.name} at message {place}")
            raise
        finally:
            self._proxy.script = pass_all

    def places(self) -> Sequence[int]:
        """Give the messages of the last life that it has waited for an answer to, from when its store was open."""
        waited = [place for place, kind in enumerate(self._sent, start=1) if ord(kind) in AWAITED]
        return [place for place in waited if place > self._opened]


async def _twice_the_same(cutter: Cutter) -> tuple[Story, Sequence[int]]:
    """Live until two lives have sent the same: a claim that was slow, on a busy machine, makes the next look twice."""
    due, places = await cutter.live(), cutter.places()
    for _ in range(5):
        assert await cutter.live() == due
        if cutter.places() == places:
            return due, places
        places = cutter.places()
    raise AssertionError("a life is not the same each time")


async def _cut_everywhere(proxy: Proxy, *, shares: int, ways: int) -> None:
    with database("cuts") as url:
        cutter = Cutter(proxy, database_name(url))
        await cutter.live()  # makes the day that tasks end on
        due, places = await _twice_the_same(cutter)
        assert len(places) > 100
        for place in share(places, of=shares):
            for way in range(ways):
                act = WAYS[(place + todays_turn() + way) % len(WAYS)]
                assert await cutter.live(place, act) == due, f"{act.name} at message {place}"
        assert shared_postgres().ask(TWICE, database_name(url)) == ""


@pytest.mark.timeout(120)
async def test_a_life_cut_at_any_message_comes_to_the_same_end(proxy: Proxy) -> None:
    await _cut_everywhere(proxy, shares=8, ways=1)


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_a_life_cut_at_any_message_in_any_way_comes_to_the_same_end(proxy: Proxy) -> None:
    await _cut_everywhere(proxy, shares=1, ways=len(WAYS))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("act", [Act.CUT, Act.SWALLOW])
async def test_a_first_start_cut_at_any_message_leaves_a_database_for_the_next(proxy: Proxy, act: Act) -> None:
    """A third of them at a time: which, the day says."""
    server, cut_at, reached = shared_postgres(), todays_turn() % 3 - 2, 0
    with database("start", empty=True) as url:
        through = server.url(database_name(url), port=proxy.port)
        while reached >= cut_at:
            cut_at, proxy.messages = cut_at + 3, 0
            proxy.script = lambda place, _, cut_at=cut_at: act if place == cut_at else Act.PASS
            with suppress(StoreUnavailable, StoreUncertain):
                async with open_bench(through):
                    pass
            reached, proxy.script = proxy.messages, pass_all
            async with open_bench(url) as bench:
                story = await Life(bench, "after").live()
            assert story["listed"] == 3, f"{act.name} at message {cut_at}"
            server.ask("DROP SCHEMA windlass CASCADE", database_name(url))
    assert cut_at > 8

"""The server that the tests of this folder talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_front import Front
from live_front import Live, live_on
from stores import STORES


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Serve on a free port of loopback, with an empty engine."""
    front = Front(tmp_path)
    yield front
    front.close()


@pytest.fixture(scope="module", params=STORES)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Serve on each store as a process of its own, for all tests of a file: each keeps to queues of its own."""
    with live_on(request.param, tmp_path_factory.mktemp("live")) as server:
        yield server

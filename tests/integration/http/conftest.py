"""The server that the tests of this folder talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_front import Front


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Serve on a free port of loopback, with an empty engine."""
    front = Front(tmp_path)
    yield front
    front.close()

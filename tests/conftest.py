"""What every test may lean on."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio: the engine is written for it."""
    return "asyncio"

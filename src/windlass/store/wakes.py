"""Wakes of a store that nobody else writes to: there are none."""

from __future__ import annotations

from collections.abc import Callable

from windlass.contracts.wakes import Wake


class NoWakes:
    """The Wakes port of a store for one server."""

    is_shared = False

    async def listen(self, hear: Callable[[Wake], None]) -> None:
        """Tell `hear` nothing, ever."""

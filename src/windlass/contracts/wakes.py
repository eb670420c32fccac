"""The Wakes port: hints that another server has written to the store. Losing one costs time, never truth."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """What another server has written lately.

    `numbers` are tasks that have changed, None: any may have. `has_work`: some may be ready to start. `has_news`:
    keys, kinds, queues or servers have changed.
    """

    numbers: Collection[int] | None = ()
    has_work: bool = False
    has_news: bool = False


class Wakes(Protocol):
    """Who else writes here, and hints of what. Those of one's own writes never come back."""

    @property
    def is_shared(self) -> bool:
        """Whether other servers write to this store: then what one has read of it grows old."""
        ...

    async def listen(self, hear: Callable[[Wake], None]) -> None:
        """Have `hear` told of every wake from now on, in the calling loop, until the store is closed.

        A connection that is lost is made again, and a Wake of everything is told then.
        """
        ...

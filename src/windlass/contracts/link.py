"""The Link port: worker processes as the engine sees them, which is as pools of slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from windlass.contracts.registry import WorkerRow
from windlass.core.ids import Token
from windlass.core.kind import Kind
from windlass.core.stop import StopReason
from windlass.core.task import Error
from windlass.wire.frames import Accepted, Assign, Ended, KeepFile, Report, Save


class Gone(msgspec.Struct, frozen=True):
    """The worker is gone and so is its process group; nothing of the attempt runs any more.

    `alone`: no other attempt was inside. `discarded`: the server ended the worker for the sake of, or because of,
    another attempt or its blocked loop.
    """

    error: Error
    alone: bool
    discarded: bool = False


Word = Accepted | Report | Save | KeepFile | Ended | Gone
"""What an attempt says. `Ended` or `Gone` is the last word."""

Hear = Callable[[Word], None]
"""Who is told what an attempt says: in the event loop, never from within a call of its seat, never after `leave`."""


class Seat(Protocol):
    """One attempt's place in a worker."""

    def assign(self, frame: Assign) -> None:
        """Hand the attempt over, at once or, where the worker is just being spawned, at its hello. A worker that does
        not come up is `Gone`.

        Raises:
            WorkerError: the frame is larger than a frame may be.
        """
        ...

    def tell(self, reason: StopReason) -> None:
        """Ask the handler to stop; an attempt that waits for its worker is withdrawn, and its last word is `Gone`."""
        ...

    def terminate(self) -> None:
        """SIGTERM to the worker's process group; a shared worker retires instead, telling all others inside."""
        ...

    def kill(self) -> None:
        """SIGKILL to the worker's process group."""
        ...

    def answer(self, *, serial: int, accepted: bool) -> None:
        """Answer the attempt's `Save`."""
        ...

    def leave(self) -> None:
        """Give the slot back. Idempotent. A solo worker is reused only if the attempt has ended by its own word."""
        ...


class Workers(Protocol):
    """All worker processes of this server."""

    async def start(self, *, on_room: Callable[[], None], on_kinds: Callable[[str, Sequence[Kind]], None]) -> None:
        """Spawn the first workers without waiting for their hello.

        `on_room` is called whenever a slot becomes free or a pool opens, `on_kinds` with (app, kinds) at each hello.
        """
        ...

    def slots(self) -> Mapping[str, int]:
        """Say how many slots are free now, by pool."""
        ...

    def pools(self) -> Mapping[str, tuple[str, str]]:
        """Say for each kind of a live app its pool, and its pool when it must run solo."""
        ...

    def take(self, pool: str, token: Token, hear: Hear) -> Seat:
        """Take a free slot of `pool` for the attempt named by `token`; `hear` is told its words. Never waits: a slot
        counted by `slots` is there.

        Raises:
            WorkerError: no slot is free.
        """
        ...

    def problems(self) -> Sequence[str]:
        """Say, for people, why not every app has said hello; empty when all have."""
        ...

    async def clear(self, workers: Sequence[WorkerRow]) -> None:
        """End worker processes of an earlier server and wait until each and its process group are seen gone.

        Raises:
            WorkerError: one does not go away.
        """
        ...

    def kill_all(self) -> None:
        """SIGKILL to the process groups of all workers at once: the lease that their attempts run under ends.

        Concurrency: may be called from any thread, and waits for nothing; new ones are spawned as ever.
        """
        ...

    async def stop(self) -> None:
        """End all workers and wait until they are gone. Idempotent."""
        ...

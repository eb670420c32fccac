"""This server among those that share its store: its enrolment, the fence around it, and its way back.

Decides nothing about tasks: what a lease that cannot be renewed means for attempts, `core.lease` and `core.stop` say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.link import Workers
from windlass.contracts.registry import Registry, ServerRow
from windlass.core.ids import ServerId
from windlass.core.stop import StopTimes
from windlass.engine.attempts import Attempts
from windlass.engine.keeper import Fencing, Keeper
from windlass.engine.service import OnFailure
from windlass.errors import StoreError, StoreFull, StoreUnavailable, StoreUncertain
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_AGAIN_S = 1.0


class MembershipTools(msgspec.Struct, frozen=True):
    """What a membership works with. `is_shared`: others may take the lease over."""

    registry: Registry
    workers: Workers
    attempts: Attempts
    clock: Clock
    ids: Ids
    times: StopTimes
    is_shared: bool


class MembershipDuties(msgspec.Struct, frozen=True):
    """Whom a membership tells: whether the server may claim, that it has lost its lease, that it cannot go on."""

    let_claim: Callable[[bool], None]
    on_lost: Callable[[], None]
    on_failure: OnFailure


class Membership:
    """The lease of this server, and the enrolment that brings the next one when it is lost.

    Concurrency: of one event loop; its keeper has a thread of its own.
    """

    def __init__(self, row: ServerRow, tools: MembershipTools, duties: MembershipDuties) -> None:
        self._row = row
        self._tools = tools
        self._duties = duties
        self._served: tuple[str, ...] = ()
        self._returning: asyncio.Task[None] | None = None
        self._is_leaving = False
        self.problem: str | None = None
        """Why the server claims nothing; None while its lease is as it should be."""
        fencing = Fencing(self._fence, self._lift_fence, self._lose, tools.workers.kill_all)
        self._keeper = Keeper(
            tools.registry,
            row.id,
            clock=tools.clock,
            times=tools.times,
            on_failure=duties.on_failure,
            fencing=fencing if tools.is_shared else None,
        )

    @property
    def server(self) -> ServerId:
        """The name of the present enrolment."""
        return self._row.id

    async def begin(self) -> None:
        """Enrol, and begin to beat.

        Raises:
            StoreError: the store cannot be used.
        """
        await self._enroll()
        self._keeper.start()

    async def serve(self, kinds: Sequence[str]) -> None:
        """Have it known which kinds the workers of this server know.

        Raises:
            StoreError: not now.
        """
        self._served = tuple(kinds)
        await self._tools.registry.serve(self.server, self._served)

    async def leave(self) -> None:
        """Stop beating, and end the lease, under which nothing runs any more. Idempotent."""
        self._is_leaving = True
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait([self._returning])
        await self._keeper.stop()
        try:
            await self._tools.registry.leave(self.server)
        except StoreError as error:
            _log.warning(words.LEASE_KEPT, error=error.detail)  # it runs out by itself

    async def _enroll(self) -> None:
        sent_at = self._tools.clock.monotonic()
        await self._tools.registry.enroll(self._row, ttl_s=self._tools.times.ttl_s)
        self._keeper.keep(self._row.id, renewed_at=sent_at)

    # the fence ───────────────────────────────────────────────────

    def _fence(self, since: float) -> None:
        self.problem = "the server's lease cannot be renewed: is the database there?"
        silent_s = self._tools.clock.monotonic() - since
        _log.error(words.LEASE_FENCED, server=self.server, silent_s=round(silent_s, 1))
        self._duties.let_claim(False)
        self._tools.attempts.fence(since)

    def _lift_fence(self) -> None:
        if self._returning is None or self._returning.done():  # RACE: lost since
            _log.info(words.LEASE_RENEWED, server=self.server)
            self._go_on()

    def _lose(self) -> None:
        """Take in that others may run by now what runs here, and come back under another name once nothing does."""
        self.problem = "the server's lease has ended"
        _log.error(words.LEASE_LOST, server=self.server)
        self._duties.let_claim(False)
        self._tools.attempts.fence(self._tools.clock.monotonic() - self._tools.times.ttl_s)
        if self._returning is not None:
            self._returning.cancel()  # the enrolment that it brought has ended already
        if not self._is_leaving:
            self._returning = asyncio.create_task(self._return(), name="windlass-return")

    async def _return(self) -> None:
        """Enrol anew, however long that takes."""
        await self._tools.attempts.wait()
        self._duties.on_lost()
        while True:
            self._row = replace(self._row, id=self._tools.ids.server_id(), started_at=self._tools.clock.now())
            try:
                await self._enroll()
                await self._tools.registry.serve(self.server, self._served)
            except (StoreFull, StoreUnavailable, StoreUncertain):
                await asyncio.sleep(_AGAIN_S)
            except StoreError as error:
                self._duties.on_failure(error)
                return
            else:
                _log.info(words.SERVER_ENROLLED, server=self.server)
                self._go_on()
                return

    def _go_on(self) -> None:
        self.problem = None
        self._tools.attempts.lift_fence()
        self._duties.let_claim(True)

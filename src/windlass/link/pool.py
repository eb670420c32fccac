"""The workers of one app: shared ones and solo ones, spawned as needed, replaced when they fall."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from windlass.config.schema import Workers as WorkersSettings
from windlass.contracts.link import Hear
from windlass.contracts.registry import Registry, WorkerRow
from windlass.core.ids import ServerId, Token
from windlass.core.kind import Isolation, Kind
from windlass.errors import StoreError, WindlassError, WorkerError
from windlass.link.census import identify
from windlass.link.guardian import Guardian
from windlass.link.member import LEAVES_WITHIN_S, Duties, Member, MemberSeat, Stage
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_FIRST_DELAY_S = 1.0
_LAST_DELAY_S = 30.0
_BEGINS_WITHIN_S = 10.0
"""A solo worker that has not begun its attempt by then is killed: nothing else bounds an attempt that has not begun."""
_HURRIED_S = 5.0
"""A worker that has fallen sooner than this after its hello makes the next one wait, like one that said none."""


class PoolTools(msgspec.Struct, frozen=True):
    """What every pool of a server works with. `settings` is what workers are told, as plain data."""

    registry: Registry
    server: ServerId
    limits: WorkersSettings
    settings: dict[str, Any]
    guardian: Guardian
    on_room: Callable[[], None]
    on_kinds: Callable[[str, Sequence[Kind]], None]


class AppPool:
    """All workers of one app on this server."""

    def __init__(self, app: str, *, shared_slots: int, tools: PoolTools) -> None:
        self.app = app
        self.names = {role: f"{app}/{role}" for role in Isolation}
        """What its pools are called outside."""
        self.places: dict[str, tuple[str, str]] = {}
        """For each kind its pool, and its pool when it must run solo."""
        self.kinds: dict[str, Kind] | None = None
        self.problem: str | None = f"the app {app} has not said hello yet"
        self._shared_slots = shared_slots
        self._tools = tools
        self.members: list[Member] = []
        """Its workers, until each is gone."""
        self._rows: dict[Member, WorkerRow] = {}
        self._delay_s = 0.0
        self._jobs: set[asyncio.Task[None]] = set()
        self._respawning: asyncio.Task[None] | None = None
        self._stopping = False

    # room ────────────────────────────────────────────────────────

    def free(self, role: Isolation) -> int:
        """Say how many slots are free now.

        A solo pool with no idle worker offers one slot more while it may grow: taking it spawns the worker.
        """
        free = sum(member.free for member in self.members if member.role is role)
        if role is Isolation.SOLO and free == 0 and self._may_grow():
            return 1
        return free

    def take(self, role: Isolation, token: Token, hear: Hear) -> MemberSeat:
        """Take a free slot.

        Raises:
            WorkerError: there is none.
        """
        for member in self.members:
            if member.role is role and member.free:
                seat = member.seat(token, hear)
                if role is Isolation.SOLO:
                    self._keep_spare()
                return seat
        if role is Isolation.SOLO and self._may_grow():
            return self._spawn(Isolation.SOLO).seat(token, hear)
        raise WorkerError(f"no slot is free in the {role} workers of {self.app}", code="no_slot")

    def _may_grow(self) -> bool:
        solo = [member for member in self.members if member.role is Isolation.SOLO and member.stage is not Stage.GONE]
        starting = any(member.stage is Stage.STARTING for member in solo)
        return (
            self.kinds is not None
            and not self._stopping
            and not starting
            and self._delay_s == 0
            and len(solo) < self._tools.limits.solo
        )

    # life ────────────────────────────────────────────────────────

    def start(self) -> None:
        """Spawn the first worker; what it becomes is decided when its kinds are known."""
        self._spawn(None)

    async def stop(self) -> None:
        """End all workers, those that do not leave when asked by SIGKILL, and see them gone. Idempotent."""
        self._stopping = True
        if self._respawning is not None:
            self._respawning.cancel()
        members = list(self.members)
        for member in members:
            if member.stage is Stage.OPEN and not member.seats:
                member.close()
            elif member.pid:
                member.discard()
        await asyncio.gather(*(_see_off(member) for member in members if member.pid))
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def look_after(self, *, was_frozen: bool) -> None:
        """Part with workers that say no hello, do not begin, stand still or do not leave; called about once a second.

        `was_frozen`: this server itself stood still just now, so that nobody's silence means anything.
        """
        now = asyncio.get_running_loop().time()
        for member in list(self.members):
            if was_frozen:
                member.forgive(now)
            if member.was_killed:
                continue
            if why := _fault_of(member, self._tools.limits, now=now):
                if member.stage is Stage.STARTING:
                    self._note_problem(member, why)
                _log.warning(words.WORKER_KILLED, app=self.app, pid=member.pid, why=why)
                member.discard()
            elif member.stage is Stage.OPEN and (blocked_s := _blocked_s(member, now)) >= self._tools.limits.suspect_s:
                _log.warning(words.WORKER_BLOCKED, app=self.app, pid=member.pid, blocked_s=round(blocked_s, 1))
                member.close()

    def _spawn(self, role: Isolation | None) -> Member:
        duties = Duties(self._on_hello, self._note_problem, self._on_change, self._on_room, self._on_gone)
        member = Member(self.app, role, 1 if role is Isolation.SOLO else self._shared_slots, duties)
        self.members.append(member)
        self._do(self._bring_up(member))
        return member

    async def _bring_up(self, member: Member) -> None:
        """Start the process and write it down; it gets no work before that is durable."""
        if self._stopping:  # RACE: stopped between the wish for a worker and its beginning
            member.on_gone("never started")
            return
        try:
            await member.process.spawn(app=self.app, nice=self._tools.limits.nice)
            self._tools.guardian.watch(member.pid)
            if self._stopping:  # RACE: stop has not seen this one; its end is this job's
                member.discard()
                await member.process.gone.wait()
                return
            _log.debug(words.WORKER_SPAWNED, app=self.app, pid=member.pid)
            await self._record(member)
        except (WorkerError, StoreError) as error:
            self._note_problem(member, error.detail)
            if member.pid:
                member.discard()
            else:
                member.on_gone("never started")
            return
        if member.said_hello and member.stage is Stage.STARTING:
            self._welcome(member)

    async def _record(self, member: Member) -> None:
        row = identify(member.pid, self._tools.server)
        await self._tools.registry.record_worker(row)
        if member.stage is Stage.GONE:  # RACE: nobody was there to strike it out
            await _forget(self._tools.registry, row)
        else:
            self._rows[member] = row

    def _on_hello(self, member: Member, kinds: list[Kind]) -> None:
        if self.kinds is None or self.problem or list(self.kinds.values()) != kinds:
            try:
                self._tools.on_kinds(self.app, kinds)
            except WindlassError as error:
                self._note_problem(member, error.detail)
                member.discard()
                return
        self.kinds = {kind.name: kind for kind in kinds}
        self.places = {kind.name: (self.names[kind.isolation], self.names[Isolation.SOLO]) for kind in kinds}
        self.problem = None
        self._delay_s = 0.0
        if member in self._rows and member.stage is Stage.STARTING:
            self._welcome(member)

    def _welcome(self, member: Member) -> None:
        role = member.role or (Isolation.SHARED if _needs(self.kinds, Isolation.SHARED) else Isolation.SOLO)
        member.capacity = 1 if role is Isolation.SOLO else self._shared_slots
        member.welcome(role, self._tools.settings)
        _log.debug(words.WORKER_READY, app=self.app, pid=member.pid, role=role)
        self._keep_spare()
        self._tools.on_room()

    def _keep_spare(self) -> None:
        """Have one open shared worker, and one idle solo worker, for each role that some kind needs."""
        if self._stopping or self.kinds is None or self._delay_s:
            return
        coming = (Stage.STARTING, Stage.OPEN)
        if _needs(self.kinds, Isolation.SHARED) and not any(
            member.role is Isolation.SHARED and member.stage in coming for member in self.members
        ):
            self._spawn(Isolation.SHARED)
        has_idle = any(member.role is Isolation.SOLO and member.free for member in self.members)
        if _needs(self.kinds, Isolation.SOLO) and not has_idle and self._may_grow():
            self._spawn(Isolation.SOLO)

    def _on_change(self, member: Member) -> None:
        self._on_room(member)
        self._keep_spare()

    def _on_room(self, member: Member) -> None:
        if member.free:
            self._tools.on_room()

    def _note_problem(self, member: Member, detail: str) -> None:
        member.is_explained = True
        self.problem = f"the app {self.app} cannot be used: {(detail.strip() or '?').splitlines()[-1]}"
        _log.error(words.WORKER_UNFIT, app=self.app, pid=member.pid, detail=detail)

    def _on_gone(self, member: Member) -> None:
        self.members.remove(member)
        if member.pid:
            self._tools.guardian.unwatch(member.pid)
        if (row := self._rows.pop(member, None)) is not None:
            self._do(_forget(self._tools.registry, row))
        if self._stopping:
            return
        age_s = asyncio.get_running_loop().time() - member.born_at
        if not member.said_hello and not member.is_explained:
            self._note_problem(member, f"its worker ended with {member.ending} before it said hello")
        if not member.said_hello or (age_s < _HURRIED_S and not member.has_worked):
            self._respawn_later(member.role)
        else:
            self._keep_spare()
        self._tools.on_room()

    def _respawn_later(self, role: Isolation | None) -> None:
        """Try again after a growing delay; one try at a time."""
        if self._respawning is None or self._respawning.done():
            self._delay_s = min(_LAST_DELAY_S, self._delay_s * 2 or _FIRST_DELAY_S)
            self._respawning = self._do(self._respawn(role))

    async def _respawn(self, role: Isolation | None) -> None:
        await asyncio.sleep(self._delay_s)
        if self.kinds is None or self.problem:
            self._spawn(role)
        else:
            self._delay_s = 0.0
            self._keep_spare()
            self._tools.on_room()

    def _do(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task


def _fault_of(member: Member, limits: WorkersSettings, *, now: float) -> str | None:
    """Say why a worker has to be killed, if it has to."""
    if member.stage is Stage.STARTING:
        is_late = now - member.heard_at > limits.hello_s
        return f"no hello within {limits.hello_s:g} s: does its import hang?" if is_late else None
    if member.should_be_gone(now):
        return "it takes no more attempts, and does not leave"
    if member.role is Isolation.SOLO:
        return "it does not begin its attempt" if member.unanswered_s(now) >= _BEGINS_WITHIN_S else None
    blocked_s = _blocked_s(member, now)
    return f"its loop has not turned for {blocked_s:.1f} s" if blocked_s >= limits.blocked_kill_s else None


def _blocked_s(member: Member, now: float) -> float:
    """Say for how long the loop of a shared worker with attempts has stood still."""
    if member.role is Isolation.SOLO or not member.seats:
        return 0.0
    # A loop that holds the interpreter's lock cannot even say that it is blocked.
    return max(member.blocked_s, now - member.heard_at)


async def _forget(registry: Registry, row: WorkerRow) -> None:
    with contextlib.suppress(StoreError):  # the next server finds the row, and the process gone
        await registry.forget_worker(row)


def _needs(kinds: Mapping[str, Kind] | None, role: Isolation) -> bool:
    """Whether some kind runs in workers of `role`."""
    return any(kind.isolation is role for kind in (kinds or {}).values())


async def _see_off(member: Member) -> None:
    """See a worker gone that has been asked to leave."""
    try:
        async with asyncio.timeout(LEAVES_WITHIN_S):
            await member.process.gone.wait()
    except TimeoutError:
        member.discard()
        await member.process.gone.wait()

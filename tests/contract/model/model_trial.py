"""The reference and the stores side by side: each turn goes to all of them, and all must answer and stand alike.

Knows faults and restarts; invents no writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from model_checks import check_claims, check_limits, check_log
from model_ids import CountedIds
from model_postgres import OUTLIVED, PostgresRig, ProcessKilled
from model_reference import Reference
from model_stores import FAULTS, FileRig, MemoryRig
from msgspec.structs import replace
from store_cases import START

from windlass.contracts.tasks import Refusal, Refused, Submit, Turn, Wanted, Write
from windlass.errors import StoreCorrupt, StoreError
from windlass.store.sqlite.reserve import FOR_LATER

FAST_DISK = Path("/dev/shm")
"""Where syncs cost nothing: what is under test is what a file holds, not how it gets there."""


FAULT_STEP = 4
"""A turn that is to fail does so at every fourth of its statements, one after the other."""


def rationed(writes: Sequence[Write], turn: Turn, like: Turn) -> Turn:
    """Say of a turn that was given what could not wait that the rest was refused, if that is how `like` went."""
    if like.has_room:
        return turn
    done = iter(turn.results)
    refused = Refused(Refusal.FULL)
    results = [refused if isinstance(write, FOR_LATER) else next(done) for write in writes]
    return replace(turn, results=results, has_room=False)


class Trial:
    """A store in memory, one in a file and, where `database` names one, one on PostgreSQL, held against the reference.

    `fault`: where and how the next turn fails.
    """

    def __init__(self, database: str | None = None) -> None:
        self.reference = Reference(CountedIds().token)
        self.now = START
        self.fault: tuple[int, str] | None = None
        self._memory = MemoryRig()
        self._is_checked = False
        self._runner = asyncio.Runner()
        self._run = self._runner.get_loop().run_until_complete
        self._home = TemporaryDirectory(dir=FAST_DISK if FAST_DISK.is_dir() else None)
        self._file = FileRig(Path(self._home.name))
        self._run(self._file.open())
        self._postgres = None if database is None else PostgresRig(database)
        if self._postgres is not None:
            self._run(self._postgres.open())

    def close(self) -> None:
        try:
            self._run(self._file.close())
            if self._postgres is not None:
                self._run(self._postgres.close())
        finally:
            self._runner.close()
            self._home.cleanup()

    def submits(self, new: Sequence[dict[str, Any]]) -> list[Submit]:
        """Make submissions of what is new in them."""
        self._memory.bench.now = self.now
        return [Submit(self._memory.bench.new(**values)) for values in new]

    def turn(self, writes: Sequence[Write], wanted: Wanted) -> None:
        fault, self.fault = self.fault, None
        if self._postgres is not None and fault is not None and fault[1] not in OUTLIVED:
            self._run(self._fail_in_postgres(self._postgres, writes, wanted, fault))
        from_file = self._run(self._turn_in_file(writes, wanted, fault))
        kept = writes if from_file.has_room else [write for write in writes if not isinstance(write, FOR_LATER)]
        wanted = wanted if from_file.has_room else Wanted()
        from_memory = self._run(self._memory.store.tasks.turn(kept, wanted, now=self.now))
        due = self.reference.turn(kept, wanted, now=self.now)
        made = [("memory", from_memory, self._memory.store)]
        if self._postgres is not None:
            turn = self._run(self._turn_in_postgres(self._postgres, kept, wanted, fault))
            made.append(("postgres", self._postgres.told(turn, due), self._postgres.bench.store))
        made = [(name, rationed(writes, turn, from_file), store) for name, turn, store in made]
        made.append(("file", from_file, self._file.bench.store))
        due = rationed(writes, due, from_file)
        for name, turn, store in made:
            check_claims(turn, wanted.slots)
            check_limits(turn, self._run(store.tasks.queues()))
            for part in Turn.__struct_fields__:
                found, expected = getattr(turn, part), getattr(due, part)
                assert found == expected, f"{part} of a turn in {name}: {found}, not {expected}"
        self._is_checked = False

    def restart(self, *, is_killed: bool) -> None:
        for rig in (self._file, self._postgres):
            if rig is not None:
                self._run(rig.kill() if is_killed else rig.restart())
        self._begin_anew()

    def check(self) -> None:
        """Check that every store has what the reference has, and that its tasks have lived as they may."""
        if not self._is_checked:
            self._check("memory", self._run(self._memory.dump()))
            self._check("file", self._run(self._file.dump()))
            if self._postgres is not None:
                self._check("postgres", self._run(self._postgres.dump()))
            self._is_checked = True

    def _check(self, name: str, dump: dict[str, Any]) -> None:
        check_log(dump["tasks"], dump["events"])
        for part, due in self.reference.dump().items():
            assert dump[part] == due, f"{part} in {name}"

    def _begin_anew(self) -> None:
        """Let the others forget what no file remembers: which queue had its turn last."""
        self._memory.forget_served()
        self.reference.served = ""
        self._is_checked = False

    async def _turn_in_file(self, writes: Sequence[Write], wanted: Wanted, fault: tuple[int, str] | None) -> Turn:
        """Make the turn; where it is to fail, first see that nothing comes of it, at one statement after the other."""
        while fault is not None and fault[1] in FAULTS:
            made = await self._fail(writes, wanted, *fault)
            if made is not None:
                return made
            self._check("file", await self._file.dump())
            fault = (fault[0] + FAULT_STEP, fault[1])
        return await self._file.bench.store.tasks.turn(writes, wanted, now=self.now)

    async def _fail(self, writes: Sequence[Write], wanted: Wanted, statement: int, fault: str) -> Turn | None:
        """Make the turn fail at a statement and do what must be done then; give the turn where it has less of them."""
        given = self._file.ids.given
        has_failed = await self._file.fail_at(statement, fault)
        try:
            turn = await self._file.bench.store.tasks.turn(writes, wanted, now=self.now)
        except StoreError:
            assert has_failed()
        else:
            if not turn.has_room:  # what can wait was refused, and the rest done with the room kept back for it
                self._file.ids.given = given
                self._file.win_room_back()
                await self._file.heal()
                return turn
            assert not has_failed(), f"a turn was acknowledged although statement {statement} was {fault}"
            await self._file.heal()
            return turn
        self._file.ids.given = given
        if fault == "damaged":
            with pytest.raises(StoreCorrupt):
                await self._file.bench.store.tasks.turn(writes, wanted, now=self.now)
            await self._file.kill()
            await self._begin_anew_in_postgres()
        elif fault == "killed":
            await self._file.open_image()
            await self._begin_anew_in_postgres()
        return None

    async def _begin_anew_in_postgres(self) -> None:
        self._begin_anew()
        if self._postgres is not None:
            await self._postgres.restart()

    async def _fail_in_postgres(
        self, postgres: PostgresRig, writes: Sequence[Write], wanted: Wanted, fault: tuple[int, str]
    ) -> None:
        """See that nothing comes of a turn that fails at one of its statements, one after the other."""
        statement, name = fault
        while not postgres.was_commit:
            postgres.fail_at(statement, name)
            with pytest.raises((StoreError, ProcessKilled)):
                await postgres.turn(writes, wanted, now=self.now)
            assert postgres.has_failed
            postgres.heal()
            if name != "full":
                await postgres.kill()
                await self._file.restart()
                self._begin_anew()
            self._check("postgres", await postgres.dump())
            statement += FAULT_STEP
        postgres.was_commit = False

    async def _turn_in_postgres(
        self, postgres: PostgresRig, writes: Sequence[Write], wanted: Wanted, fault: tuple[int, str] | None
    ) -> Turn:
        """Make the turn, in spite of a fault that need not undo it."""
        if fault is not None and fault[1] in OUTLIVED:
            postgres.fail_at(*fault)
        turn = await postgres.turn(writes, wanted, now=self.now)
        postgres.heal()
        return turn

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
from model_reference import Reference
from model_stores import FileRig, MemoryRig
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
    """A store in memory and one in a file, held against the reference. `fault`: where and how the next turn fails."""

    def __init__(self) -> None:
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

    def close(self) -> None:
        try:
            self._run(self._file.close())
        finally:
            self._runner.close()
            self._home.cleanup()

    def submits(self, new: Sequence[dict[str, Any]]) -> list[Submit]:
        """Make submissions of what is new in them."""
        self._memory.bench.now = self.now
        return [Submit(self._memory.bench.new(**values)) for values in new]

    def turn(self, writes: Sequence[Write], wanted: Wanted) -> None:
        from_file = self._run(self._turn_in_file(writes, wanted))
        kept = writes if from_file.has_room else [write for write in writes if not isinstance(write, FOR_LATER)]
        wanted = wanted if from_file.has_room else Wanted()
        from_memory = rationed(writes, self._run(self._memory.store.tasks.turn(kept, wanted, now=self.now)), from_file)
        due = rationed(writes, self.reference.turn(kept, wanted, now=self.now), from_file)
        for name, turn, store in (
            ("memory", from_memory, self._memory.store),
            ("file", from_file, self._file.bench.store),
        ):
            check_claims(turn, wanted.slots)
            check_limits(turn, self._run(store.tasks.queues()))
            for part in Turn.__struct_fields__:
                found, expected = getattr(turn, part), getattr(due, part)
                assert found == expected, f"{part} of a turn in {name}: {found}, not {expected}"
        self._is_checked = False

    def restart(self, *, is_killed: bool) -> None:
        self._run(self._file.kill() if is_killed else self._file.restart())
        self._begin_anew()

    def check(self) -> None:
        """Check that every store has what the reference has, and that its tasks have lived as they may."""
        if not self._is_checked:
            self._check("memory", self._run(self._memory.dump()))
            self._check("file", self._run(self._file.dump()))
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

    async def _turn_in_file(self, writes: Sequence[Write], wanted: Wanted) -> Turn:
        """Make the turn; where it is to fail, first see that nothing comes of it, at one statement after the other."""
        fault, self.fault = self.fault, None
        while fault is not None:
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
            self._begin_anew()
        elif fault == "killed":
            await self._file.open_image()
            self._begin_anew()
        return None

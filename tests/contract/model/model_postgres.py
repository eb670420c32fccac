"""The store on PostgreSQL held against the model: its process is killed, its connections cut, its statements refused.

Knows no rule of the store. Its numbers and seqs may have gaps, which mean nothing: they are told to others as those of
the reference, and those of the reference to the store as its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from model_ids import CountedIds
from model_stores import everything_in
from msgspec.structs import replace
from store_cases import Bench

from windlass.config.schema import Postgres
from windlass.contracts.tasks import Applied, Claimed, Placed, Refused, Tombstone, Turn, Wanted, Write
from windlass.core.task import Event, Task
from windlass.store.postgres.store import PostgresStore, open_postgres

REFUSALS = {"busy": "40P01", "full": "53100", "damaged": "XX001"}
"""What a statement is answered with, where it is refused."""
OUTLIVED = frozenset({"busy", "cut", "unanswered"})
"""Faults that nobody need hear of: the turn is made all the same, and once. `unanswered` is always its COMMIT."""

TABLES = """SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables
WHERE schemaname = 'windlass' AND tablename NOT LIKE 'ended\\_%' AND tablename NOT IN ('migrations')"""
CHECKPOINTS = "SELECT number, checkpoint FROM windlass.checkpoints"
CHECKPOINT = "SELECT checkpoint FROM windlass.checkpoints WHERE number = $1"
LEFT_BEHIND = """
SELECT 'checkpoint' AS what, number FROM windlass.checkpoints WHERE number NOT IN (SELECT number FROM known)
UNION ALL SELECT 'file', number FROM windlass.files WHERE number NOT IN (SELECT number FROM known)
UNION ALL SELECT 'event', number FROM windlass.events WHERE number NOT IN (SELECT number FROM known)
UNION ALL SELECT 'spec', number FROM windlass.specs WHERE number NOT IN (SELECT number FROM known)
UNION ALL SELECT 'no spec', number FROM known WHERE number NOT IN (SELECT number FROM windlass.specs)
UNION ALL SELECT 'twice', number FROM known GROUP BY number HAVING count(*) > 1
"""
UNKNOWN = 10**9
"""The number of no task."""
ORPHANS = f"""WITH known AS (SELECT number FROM windlass.tasks UNION ALL SELECT number FROM windlass.ended)
{LEFT_BEHIND}"""


class ProcessKilled(BaseException):
    """The process that had the store open is no more; nothing of it cleans up."""


class Tripwire:
    """A connection that asks the rig what befalls each of its statements."""

    def __init__(self, session: Any, rig: PostgresRig) -> None:
        self._session = session
        self._rig = rig

    def __getattr__(self, name: str) -> Any:
        if name not in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            return getattr(self._session, name)

        async def run(*args: Any, **options: Any) -> Any:
            return await self._rig.run(self._session, getattr(self._session, name), *args, **options)

        return run


class PostgresRig:
    """A store in a database that is emptied for each example; `open` it first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.ids = CountedIds()
        self._given = 0
        self._kinds = 0
        self._numbers: dict[int, int] = {}
        self._seqs: dict[int, int] = {}
        self._left = 0
        self._fault = ""
        self.has_failed = False
        """Whether the fault has befallen a statement."""
        self.was_commit = False
        """Whether that was the last one of the turn."""

    async def open(self) -> None:
        """Empty the database, and open the store."""
        self._aside = await asyncpg.connect(self._url)
        await self._aside.execute(
            f"SET session_replication_role = replica; TRUNCATE {await self._aside.fetchval(TABLES)} RESTART IDENTITY"
        )
        await self._open()

    async def close(self) -> None:
        await self.bench.store.close()
        await self._aside.close()

    async def restart(self) -> None:
        """Close the store as a server does that is told to stop, and open it again."""
        await self.bench.store.close()
        await self._open()

    async def kill(self) -> None:
        """Abandon the store, its connections broken off, as a killed process does; open it as the next one does."""
        await self._aside.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await self.restart()

    async def dump(self) -> dict[str, Any]:
        orphans = await self._aside.fetch(ORPHANS)
        assert orphans == [], "rows of tasks that are gone, or tasks that lack some"
        checkpoints = await self._aside.fetch(CHECKPOINTS)
        kept = {self._numbers[number]: checkpoint for number, checkpoint in checkpoints}
        everything = await everything_in(self.bench.store)
        return {name: self._told(part) for name, part in everything.items()} | {"checkpoints": kept}

    def begin_anew(self) -> str:
        """Forget every task there is, for one that is alone in the reference: gives a kind for it that none had."""
        self._numbers, self._seqs, self.ids.given = {}, {}, 0
        self._kinds += 1
        return f"kind-{self._kinds}"

    async def read(self, number: int) -> tuple[Any, Any, dict[int, bytes]]:
        """Read a task, its events and its checkpoint, by its number in the reference."""
        own = next((ours for ours, theirs in self._numbers.items() if theirs == number), UNKNOWN)
        task, events = await self.bench.store.tasks.get(own), await self.bench.store.events.history(own)
        kept = await self._aside.fetchval(CHECKPOINT, own)
        return self._told(task), self._told(list(events)), {} if kept is None else {number: kept}

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Make a turn, in the store's own numbers."""
        return await self.bench.store.tasks.turn([self._asked(write) for write in writes], wanted, now=now)

    def told(self, turn: Turn, due: Turn) -> Turn:
        """Learn from a turn which of its numbers and seqs are which of the reference's, and give it in those."""
        for result, like in zip(turn.results, due.results, strict=True):
            if isinstance(result, Applied) and isinstance(like, Applied) and result.created:
                pairs = [(result.task, like.task), *zip(result.placed, like.placed, strict=True)]
                for new, known in pairs:
                    if new is not None and known is not None:
                        self._learn(self._numbers, new.number, known.number)
        for event, known in zip(turn.events, due.events, strict=False):
            self._learn(self._seqs, event.seq, known.seq)
        parts = ("results", "claimed", "events")
        return replace(turn, **{part: self._told(getattr(turn, part)) for part in parts})

    @staticmethod
    def _learn(known: dict[int, int], ours: int, theirs: int) -> None:
        if ours not in known:
            assert ours > max(known, default=0), f"{ours} was given out, and does not rise"
            known[ours] = theirs

    def _told(self, value: Any) -> Any:
        match value:
            case Task() | Placed() | Tombstone():
                return replace(value, number=self._numbers[value.number])
            case Event():
                return replace(value, number=self._numbers[value.number], seq=self._seqs[value.seq])
            case Claimed() | Refused():
                return replace(value, task=self._told(value.task))
            case Applied():
                return replace(value, task=self._told(value.task), placed=self._told(value.placed))
            case list() | tuple():
                return type(value)(self._told(item) for item in value)
            case _:
                return value

    def _asked(self, write: Write) -> Write:
        name = "number" if hasattr(write, "number") else "ref"
        number = getattr(write, name, None)
        if not isinstance(number, int):
            return write
        ours = {known: own for own, known in self._numbers.items()}
        return replace(write, **{name: ours.get(number, UNKNOWN)})

    # faults ──────────────────────────────────────────────────────

    def fail_at(self, statement: int, fault: str) -> None:
        """Have `fault` befall the `statement`-th statement of the next turn; its COMMIT, if it has fewer."""
        self._left, self._fault, self.has_failed = statement, fault, False
        self._given = self.ids.given

    def heal(self) -> None:
        """Let nothing befall any statement."""
        self._fault = ""

    async def run(self, session: Any, call: Any, *args: Any, **options: Any) -> Any:
        """Run a statement, unless the fault is for it."""
        if not self._fault or self.has_failed or not self._is_due(args[0]):
            return await call(*args, **options)
        self.has_failed, self.was_commit = True, args[0] == "COMMIT"
        if self._fault == "unanswered":
            await call(*args, **options)
        else:
            self.ids.given = self._given  # from here on the turn is undone, whatever the store does
        if self._fault in REFUSALS:
            return await session.execute(f"DO $$ BEGIN RAISE SQLSTATE '{REFUSALS[self._fault]}'; END $$")
        session.terminate()
        if self._fault == "killed":
            raise ProcessKilled
        raise ConnectionResetError("Connection lost")

    def _is_due(self, statement: str) -> bool:
        self._left -= 1
        return statement == "COMMIT" or (self._left <= 0 and self._fault != "unanswered")

    async def _open(self) -> None:
        store = await open_postgres(self._url, ids=self.ids, settings=Postgres(connections=1), keeps_up=False)
        self._trap(store)
        self.bench = Bench(store, self.ids)

    def _trap(self, store: PostgresStore) -> None:
        """Put a tripwire on the connection that writes."""
        kept: Any = store._database._writer
        get = kept.get

        async def get_trapped(patience: Any) -> Any:
            return Tripwire(await get(patience), self)

        kept.get = get_trapped

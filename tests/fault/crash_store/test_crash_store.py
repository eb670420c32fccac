"""A store whose process is killed, or whose disk fails, at every single call by which it changes the disk."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crash_judge import judge, read_ledger
from crash_life import EXIT_DAMAGED, EXIT_FULL, EXIT_REFUSED, lead
from crash_parts import Ledger
from rotation import share
from syscalls import KILLED, Fault, Spot, need_strace, run_into, spots_of

PROGRAM = Path(__file__).with_name("crash_life.py")
AT_ONCE = 2
EIO, NO_SPACE, NO_SPACE_FOR_GOOD = Fault("EIO"), Fault("ENOSPC"), Fault("ENOSPC", lasts=True)
UNSEEN = {
    ("fdatasync", "data"): "SQLite does not say when the sync of a directory fails; ours, which follows, does",
    ("unlink", "windlass.db-shm"): "the index of a log that is empty by then; it is made anew",
    ("unlink", "windlass.db-wal"): "a log that is empty by then",
}
"""The calls whose failure the store is not told of, and why nothing hangs on it. Nor of that of an `openat`, if SQLite
gets by without: what it has not opened it does not believe to have written."""


class Room:
    """A directory for one run of the program."""

    def __init__(self, home: Path, life: str, left: Room | None) -> None:
        self.home = home.resolve()
        self.data, self.ledger, self._log = self.home / "data", self.home / "ledger", self.home / "calls"
        self._command = [sys.executable, str(PROGRAM), life, str(self.data), str(self.ledger)]
        self._before = [] if left is None else [left.ledger]
        self.home.mkdir()
        if left is not None:
            shutil.copytree(left.data, self.data)

    def spots(self) -> list[Spot]:
        """Run the program unharmed and name its calls on its data and its ledger."""
        return spots_of(self._command, under=[self.data, self.ledger], log=self._log)

    def run_into(self, fault: Fault, spot: Spot) -> int:
        """Run the program into a fault; give its exit code."""
        outcome = run_into(fault, spot, self._command, log=self._log)
        assert "Traceback" not in outcome.stderr, outcome.stderr
        return outcome.returncode

    def finish(self) -> None:
        """Bring every task to its end in another life, and hold the store against all that was told."""
        ledger = self.home / "afterwards"
        assert asyncio.run(lead("last", self.data, Ledger(ledger))) == 0
        judge(self.data, *self._before, self.ledger, ledger)


class Life:
    """A life of the program: its calls when nothing befalls it, and what becomes of it when something does."""

    def __init__(self, home: Path, life: str, left: Room | None = None) -> None:
        need_strace()
        self._home, self._life, self._left = home, life, left
        self._numbers = itertools.count()
        self._whole = self._room()
        self.spots = self._whole.spots()

    def meets(self, fault: Fault, spot: Spot) -> tuple[int, set[str]]:
        """Lead it into a fault and judge what is left; give its exit code and what it has noted."""
        room = self._room()
        code = room.run_into(fault, self._of(room, spot))
        noted = {line["what"] for line in read_ledger(room.ledger)}
        room.finish()
        shutil.rmtree(room.home)
        return code, noted

    def left_by(self, spot: Spot) -> Room:
        """Give what is left when it is killed at a spot."""
        room = self._room()
        assert room.run_into(KILLED, self._of(room, spot)) == -9
        return room

    def _room(self) -> Room:
        return Room(self._home / f"{self._life}-{next(self._numbers)}", self._life, self._left)

    def _of(self, room: Room, spot: Spot) -> Spot:
        return Spot(str(room.home / Path(spot.path).relative_to(self._whole.home)), spot.call, spot.nth)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Life:
    return Life(tmp_path_factory.mktemp("crash"), "first")


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, first: Life) -> Life:
    """The life after one that was killed near its end: tasks run, wait and lie in the log."""
    near_its_end = [spot for spot in first.spots if spot.path.endswith("ledger")][-5]
    return Life(tmp_path_factory.mktemp("crash"), "again", first.left_by(near_its_end))


# ── what must hold at a spot ───────────────────────────────────────


def is_killed(life: Life, spot: Spot) -> None:
    """The process ends right before the call."""
    code, _ = life.meets(KILLED, spot)
    assert code == -9


def fails(life: Life, spot: Spot) -> None:
    """The call fails: the store sees it, and acknowledges nothing more."""
    code, _ = life.meets(EIO, spot)
    is_unseen = spot.call == "openat" or (spot.call, Path(spot.path).name) in UNSEEN
    assert code in (EXIT_DAMAGED, EXIT_REFUSED) or (code == 0 and is_unseen)


def lacks_space(life: Life, spot: Spot) -> None:
    """There is no space for the call, but for the next: a write is refused and done again, and life goes on."""
    code, noted = life.meets(NO_SPACE, spot)
    if spot.call == "pwrite64" and "opened" in noted:
        assert code == 0 or (code == EXIT_FULL and "closing" in noted)
    else:
        assert code in (0, EXIT_DAMAGED, EXIT_REFUSED)


def lacks_space_for_good(life: Life, spot: Spot) -> None:
    """There is no space from the call on: what was acknowledged is there all the same."""
    code, _ = life.meets(NO_SPACE_FOR_GOOD, spot)
    assert code in (0, EXIT_FULL, EXIT_DAMAGED, EXIT_REFUSED)


Case = Callable[[Life, Spot], None]


def of_the_store(spots: Sequence[Spot]) -> list[Spot]:
    """Leave out the calls of the program itself."""
    return [spot for spot in spots if not spot.path.endswith("ledger")]


def each(spots: Sequence[Spot], life: Life, case: Case) -> None:
    """Try every spot, a few at once; tell all that fail."""

    def outcome(spot: Spot) -> str:
        try:
            case(life, spot)
        except Exception as error:  # noqa: BLE001 told below, with all the others
            return f"{spot}: {error!r}\n"
        return ""

    assert spots
    with ThreadPoolExecutor(AT_ONCE) as threads:
        failed = list(filter(None, threads.map(outcome, spots)))
    assert not failed, f"{len(failed)} of {len(spots)}:\n{''.join(failed)}"


# ── the proofs: a share of the spots each time, and all of them ────

FIRST: list[tuple[Case, int]] = [(is_killed, 10), (fails, 40), (lacks_space, 40), (lacks_space_for_good, 80)]
AGAIN: list[tuple[Case, int]] = [(is_killed, 40), (fails, 80), (lacks_space, 80)]


def spots_for(case: Case, life: Life) -> Sequence[Spot]:
    return life.spots if case is is_killed else of_the_store(life.spots)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("case", "shares"), FIRST)
def test_a_share_of_the_calls_of_a_life_loses_nothing(first: Life, case: Case, shares: int) -> None:
    each(share(spots_for(case, first), of=shares), first, case)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("case", "shares"), AGAIN)
def test_a_share_of_the_calls_of_a_recovery_loses_nothing(again: Life, case: Case, shares: int) -> None:
    each(share(spots_for(case, again), of=shares), again, case)


@pytest.mark.prove
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("case", [case for case, _ in FIRST])
def test_every_call_of_a_life_loses_nothing(first: Life, case: Case) -> None:
    each(spots_for(case, first), first, case)


@pytest.mark.prove
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("case", [case for case, _ in AGAIN])
def test_every_call_of_a_recovery_loses_nothing(again: Life, case: Case) -> None:
    each(spots_for(case, again), again, case)


# ── the scenario itself ────────────────────────────────────────────


def test_the_life_makes_every_sort_of_call_that_a_store_makes(first: Life, again: Life) -> None:
    made = {(spot.call, Path(spot.path).name) for spot in first.spots}
    assert {
        ("mkdir", "data"),
        ("pwrite64", "windlass.db-wal"),
        ("fdatasync", "windlass.db-wal"),
        ("pwrite64", "windlass.db"),
        ("fdatasync", "windlass.db"),
        ("fsync", "data"),
        ("unlink", "windlass.db-wal"),
        ("write", "ledger"),
    } <= made
    assert len(first.spots) > 300
    assert len(again.spots) > 50


@pytest.mark.parametrize(
    ("case", "call", "file"),
    [
        (is_killed, "unlink", "windlass.db-journal"),
        (is_killed, "pwrite64", "windlass.db-wal"),
        (fails, "ftruncate", "windlass.lock"),
    ],
)
def test_what_a_first_start_has_begun_the_next_one_finishes(first: Life, case: Case, call: str, file: str) -> None:
    case(first, next(spot for spot in first.spots if spot.call == call and Path(spot.path).name == file))


def test_a_failing_disk_is_left_as_it_is_when_the_store_closes(first: Life) -> None:
    syncs = [spot for spot in first.spots if spot.call == "fdatasync" and spot.path.endswith("-wal")]
    room = first._room()
    assert room.run_into(EIO, first._of(room, syncs[len(syncs) // 2])) == EXIT_DAMAGED
    assert (room.data / "windlass.db-wal").stat().st_size > 0
    room.finish()


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_an_error_of_a_checkpoint_stops_the_store(first: Life, call: str) -> None:
    checkpoints = [spot for spot in first.spots if spot.call == call and Path(spot.path).name == "windlass.db"]
    fails(first, checkpoints[len(checkpoints) // 2])

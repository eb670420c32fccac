"""How much room is kept back, what waits while there is none, and that nothing else does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windlass.contracts.tasks import (
    Applied,
    Delete,
    Edit,
    Forget,
    Hold,
    Prune,
    Refusal,
    Refused,
    RequestCancel,
    Retry,
    Submit,
    SubmitBatch,
    Sweep,
    Turn,
    Wanted,
    Write,
)
from windlass.core.ids import TaskId
from windlass.core.limits import GIB, MIB
from windlass.core.state import State
from windlass.core.task import NewTask
from windlass.store.sqlite.reserve import ration, reserve_bytes

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NEW = NewTask(id=TaskId("x"), kind="k", queue="q", payload=b"{}", created_at=NOW, run_at=NOW)


@pytest.mark.parametrize(
    ("disk", "reserve"), [(100 * GIB, 32 * MIB), (640 * MIB, 32 * MIB), (64 * MIB, 64 * MIB // 20)]
)
def test_a_small_disk_keeps_less_back(monkeypatch: pytest.MonkeyPatch, disk: int, reserve: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=disk // 4096, f_frsize=4096))
    assert reserve_bytes(Path("anywhere")) == reserve


def test_what_brings_work_is_refused_in_its_place_and_the_rest_is_done() -> None:
    done: list[Sequence[Any]] = []

    def turn(writes: Sequence[Write], wanted: Wanted) -> Turn:
        assert wanted == Wanted()
        done.append(writes)
        return Turn(results=[Applied(count=n) for n in range(len(writes))], claimed=[], events=[], next_due_at=None)

    kept: list[Write] = [
        Hold(1, NOW),
        RequestCancel(1, NOW),
        Delete(1, NOW),
        Prune((State.FAILED,), None, 1, NOW),
        Sweep((1,)),
        Forget(NOW, NOW, 1),
    ]
    writes = [Submit(NEW), kept[0], SubmitBatch((NEW,)), *kept[1:], Retry(1, NOW), Edit(ref=1, at=NOW)]
    turned = ration(turn, writes)
    refused = Refused(Refusal.FULL)
    assert done == [kept]
    assert turned.results == [refused, Applied(), refused, *(Applied(count=n) for n in range(1, 6)), refused, refused]
    assert not turned.has_room

"""What a task gets when neither its kind nor its submitter says otherwise."""

from __future__ import annotations

import msgspec
import pytest

from windlass.core.backoff import DEFAULT_RETRY
from windlass.core.kind import BUILTIN_APP, Isolation, Kind
from windlass.core.state import Recovery

BARE = Kind(name="build_report", app="tasks", version="1", schema=b"{}", isolation=Isolation.SHARED)


def test_a_kind_has_15_minutes_10_seconds_of_grace_and_five_attempts() -> None:
    assert (BARE.timeout_s, BARE.grace_s, BARE.max_attempts) == (900, 10, 5)
    assert (BARE.retry, BARE.queue) == (DEFAULT_RETRY, "default")


def test_a_kind_runs_at_least_once_unless_it_says_otherwise() -> None:
    assert BARE.recovery is Recovery.RETRY
    assert [*Recovery] == ["retry", "fail", "hold"]


def test_a_kind_survives_the_way_over_a_process_border() -> None:
    for kind in (BARE, msgspec.structs.replace(BARE, timeout_s=None, isolation=Isolation.SOLO, app=BUILTIN_APP)):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(kind), type=Kind) == kind


def test_a_kind_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        BARE.queue = "other"  # pyright: ignore[reportAttributeAccessIssue]

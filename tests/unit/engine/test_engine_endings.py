"""What a last word means, for each step of the stop ladder: a table of its own, as a wrong row burns work."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from windlass.contracts.link import Gone
from windlass.core.ids import TaskId, Token
from windlass.core.outcome import Errored, Interrupted, Lost, Snoozed, Succeeded, TimedOut
from windlass.core.state import State
from windlass.core.stop import Ladder, Stage, StopReason
from windlass.core.task import Error, Task
from windlass.engine.endings import conclude, conclude_gone, not_begun
from windlass.errors import WorkerError
from windlass.wire.frames import Ended

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TOKEN = Token("0" * 32)
TASK = Task(
    number=1,
    id=TaskId("0192e4a0-0000-7000-8000-000000000001"),
    kind="work",
    queue="default",
    state=State.RUNNING,
    created_at=NOW,
    run_at=NOW,
    token=TOKEN,
    timeout_s=30.0,
)
ERROR = Error(type="ValueError", message="no")
GONE = Error(type="WorkerGone", message="ended with SIGKILL", exit="SIGKILL")


def ladder(reason: StopReason, stage: Stage) -> Ladder:
    return Ladder(reason, 1.0, 2.0, 3.0, stage)


TOLD = [stage for stage in Stage if stage is not Stage.RUNNING]


@pytest.mark.parametrize("reason", StopReason)
@pytest.mark.parametrize("stage", Stage)
def test_a_success_is_a_success_however_late_it_comes(reason: StopReason, stage: Stage) -> None:
    outcome = Succeeded(b"1")
    assert conclude(Ended(TOKEN, outcome), TASK, ladder(reason, stage)) == outcome
    assert conclude(Ended(TOKEN, outcome, stopped=True), TASK, None) == outcome


@pytest.mark.parametrize("outcome", [Errored(ERROR), Snoozed(5.0)])
def test_what_a_handler_did_by_itself_counts_though_it_was_being_stopped(outcome: Errored | Snoozed) -> None:
    for reason in StopReason:
        assert conclude(Ended(TOKEN, outcome), TASK, ladder(reason, Stage.TOLD)) == outcome


@pytest.mark.parametrize("stage", TOLD)
def test_a_handler_that_was_stopped_ends_by_the_reason_it_was_stopped_for(stage: Stage) -> None:
    ended = Ended(TOKEN, Errored(ERROR), stopped=True)
    assert conclude(ended, TASK, ladder(StopReason.CANCEL, stage)) == Errored(ERROR)
    timed_out = conclude(ended, TASK, ladder(StopReason.TIMEOUT, stage))
    assert isinstance(timed_out, TimedOut)
    assert timed_out.error.message == "stopped after its timeout of 30 s; then: no"
    for reason in (StopReason.DRAIN, StopReason.HURRY, StopReason.LOST_LEASE):
        given_back = conclude(ended, TASK, ladder(reason, stage))
        assert isinstance(given_back, Interrupted)
        assert not given_back.isolate


@pytest.mark.parametrize("ladder_then", [None, ladder(StopReason.TIMEOUT, Stage.RUNNING)])
def test_a_handler_stopped_for_its_neighbour_runs_alone_next_time(ladder_then: Ladder | None) -> None:
    outcome = conclude(Ended(TOKEN, Errored(ERROR), stopped=True), TASK, ladder_then)
    assert isinstance(outcome, Interrupted)
    assert outcome.isolate


def test_only_an_attempt_that_was_alone_and_had_begun_has_ended_its_worker() -> None:
    alone, with_others = Gone(GONE, alone=True), Gone(GONE, alone=False)
    discarded = msgspec.structs.replace(alone, discarded=True)
    assert conclude_gone(alone, TASK, None, had_begun=True) == Lost(GONE)
    assert conclude_gone(alone, TASK, None, had_begun=False) == Interrupted(GONE)
    for innocent in (with_others, discarded):
        assert conclude_gone(innocent, TASK, None, had_begun=True) == Interrupted(GONE, isolate=True)
    waiting_for_its_timeout = ladder(StopReason.TIMEOUT, Stage.RUNNING)
    assert conclude_gone(alone, TASK, waiting_for_its_timeout, had_begun=True) == Lost(GONE)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("reason", [StopReason.DRAIN, StopReason.HURRY, StopReason.LOST_LEASE])
def test_a_worker_gone_while_its_server_stops_convicts_nobody(reason: StopReason, stage: Stage) -> None:
    outcome = conclude_gone(Gone(GONE, alone=True), TASK, ladder(reason, stage), had_begun=True)
    assert isinstance(outcome, Interrupted)
    assert not outcome.isolate


@pytest.mark.parametrize("stage", TOLD)
def test_a_worker_gone_while_its_attempt_was_stopped_ends_it_by_that_reason(stage: Stage) -> None:
    gone = Gone(GONE, alone=True)
    assert conclude_gone(gone, TASK, ladder(StopReason.CANCEL, stage), had_begun=True) == Lost(GONE)
    timed_out = conclude_gone(gone, TASK, ladder(StopReason.TIMEOUT, stage), had_begun=True)
    assert isinstance(timed_out, TimedOut)
    assert timed_out.error.exit == "SIGKILL"


def test_an_attempt_that_no_worker_could_be_given_is_given_back() -> None:
    outcome = not_begun(WorkerError("a frame is too large", code="frame_too_large"))
    assert (outcome.error.type, outcome.isolate) == ("NoWorker", False)
    assert "a frame is too large" in outcome.error.message

"""What each write does to a task, to its history, and what it is answered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_cases import ERROR, FAILED, NOBODY, START, Bench, applied_task, attempt_writes, file, refused

from windlass.contracts.tasks import (
    Applied,
    Hold,
    KeepFile,
    Refusal,
    Refused,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Submit,
    Write,
)
from windlass.core.backoff import RetryPolicy
from windlass.core.outcome import Interrupted, Snoozed
from windlass.core.state import EventName, Reason, Recovery, State
from windlass.core.task import Progress

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


# ── submit ─────────────────────────────────────────────────────────


async def test_a_submitted_task_reads_back_as_it_was_answered(bench: Bench) -> None:
    task = await bench.submit(
        priority=-3,
        key="invoice 7",
        origin="tasktrack",
        fingerprint=b"\x00\xff",
        name="näme",
        description="d",
        tags={"team": "a", "x.y-z": '"quoted"'},
        max_attempts=7,
        retry=RetryPolicy(base_s=1, factor=2, cap_s=3, jitter=0),
        recovery=Recovery.HOLD,
        timeout_s=0.1,
        grace_s=2,
        delay_s=60,
    )
    assert (task.number, task.state, task.version, task.run_at) == (1, State.QUEUED, 1, START + timedelta(seconds=60))
    assert await bench.store.tasks.get(task.number) == task
    assert await bench.store.tasks.get(task.id) == task
    assert await bench.store.tasks.payload(task.number) == b'{"n":1}'
    assert await bench.store.tasks.result(task.number) is None


async def test_what_is_not_there_reads_as_none(bench: Bench) -> None:
    assert await bench.store.tasks.get(1) is None
    assert await bench.store.tasks.get(bench.ids.task_id()) is None
    assert await bench.store.tasks.payload(1) is None
    assert await bench.store.tasks.result(1) is None
    assert await bench.store.tasks.files(1) == []


async def test_the_same_key_and_content_is_the_same_task_again(bench: Bench) -> None:
    first = await bench.submit(key="a", fingerprint=b"1")
    turn = await bench.turn(Submit(bench.new(key="a", fingerprint=b"1")))
    assert turn.results == [Applied(first, created=False)]
    assert turn.events == []


async def test_a_key_with_other_content_is_refused_with_the_task_that_has_it(bench: Bench) -> None:
    first = await bench.submit(key="a", fingerprint=b"1")
    assert await bench.write(Submit(bench.new(key="a", fingerprint=b"2"))) == Refused(Refusal.KEY, first)


async def test_a_key_stays_taken_after_its_task_has_ended(bench: Bench) -> None:
    running = await bench.run(key="a", fingerprint=b"1")
    ended = await bench.end(running.task)
    assert await bench.write(Submit(bench.new(key="a", fingerprint=b"1"))) == Applied(ended, created=False)


async def test_a_key_belongs_to_its_origin_and_kind(bench: Bench) -> None:
    numbers = {
        (await bench.submit(key="a", kind=kind, origin=origin)).number
        for kind in ("work", "other")
        for origin in (None, "enqueue", "tasktrack")
    }
    assert len(numbers) == 6


async def test_a_key_met_within_one_turn_counts_like_any_other(bench: Bench) -> None:
    same, other = {"key": "a", "fingerprint": b"1"}, {"key": "a", "fingerprint": b"2"}
    turn = await bench.turn(Submit(bench.new(**same)), Submit(bench.new(**same)), Submit(bench.new(**other)))
    first = applied_task(turn.results[0])
    assert turn.results == [Applied(first), Applied(first, created=False), Refused(Refusal.KEY, first)]
    assert [event.name for event in turn.events] == [EventName.SUBMITTED]


async def test_a_submit_repeated_after_an_unknown_outcome_is_the_same_task(bench: Bench) -> None:
    new = bench.new(fingerprint=b"1")
    turn = await bench.turn(Submit(new), Submit(new))
    again = await bench.write(Submit(new))
    first = applied_task(turn.results[0])
    assert turn.results[1] == again == Applied(first, created=False)


# ── settle ─────────────────────────────────────────────────────────


async def test_a_success_keeps_the_result_and_ends_the_task(bench: Bench) -> None:
    running = await bench.run()
    bench.pass_time(2)
    task = await bench.end(running.task)
    assert (task.state, task.reason, task.token) == (State.SUCCEEDED, None, None)
    assert (task.started_at, task.finished_at) == (START, START + timedelta(seconds=2))
    assert (task.run_s, task.version) == (1.5, 3)
    assert await bench.store.tasks.result(task.number) == b'{"ok":true}'


async def test_a_failure_goes_back_to_the_queue_with_its_error(bench: Bench) -> None:
    running = await bench.run()
    task = await bench.end(running.task, FAILED)
    assert (task.state, task.reason, task.error) == (State.QUEUED, Reason.ERROR, ERROR)
    assert (task.token, task.started_at, task.finished_at) == (None, None, None)
    assert task.run_at > bench.now
    assert await bench.claim() == []


async def test_the_error_stays_until_the_task_succeeds(bench: Bench) -> None:
    running = await bench.run()
    await bench.end(running.task, FAILED)
    bench.pass_time(60)
    (second,) = await bench.claim()
    assert (second.task.error, second.task.reason) == (ERROR, None)
    snoozed = await bench.end(second.task, Snoozed(delay_s=0))
    assert (snoozed.error, snoozed.charged) == (ERROR, 1)
    (third,) = await bench.claim()
    task = await bench.end(third.task)
    assert (task.error, task.attempt, task.charged, task.run_s) == (None, 3, 2, 4.5)


async def test_a_failure_for_good_keeps_its_error_and_has_no_result(bench: Bench) -> None:
    running = await bench.run(max_attempts=1)
    task = await bench.end(running.task, FAILED)
    assert (task.state, task.reason, task.error) == (State.FAILED, Reason.EXHAUSTED, ERROR)
    assert await bench.store.tasks.result(task.number) is None


async def test_an_attempt_given_back_runs_again_at_once_and_alone_if_it_must(bench: Bench) -> None:
    running = await bench.run()
    turn = await bench.turn(bench.settle(running.task, Interrupted(error=ERROR, isolate=True)), slots={"solo": 1})
    (again,) = turn.claimed
    assert (again.pool, again.task.solo, again.task.attempt, again.task.charged) == ("solo", True, 2, 1)
    assert again.task.token not in (None, running.task.token)


async def test_a_settlement_that_holds_keeps_the_task_from_starting(bench: Bench) -> None:
    running = await bench.run(recovery=Recovery.HOLD)
    task = await bench.end(running.task, Interrupted(error=ERROR))
    assert (task.state, task.held) == (State.QUEUED, True)
    assert await bench.claim() == []


async def test_the_event_of_a_settlement_says_what_happened(bench: Bench) -> None:
    running = await bench.run()
    settle = bench.settle(running.task, FAILED)
    (event,) = (await bench.turn(settle)).events
    assert (event.name, event.state, event.attempt, event.ordinal) == (EventName.RETRYING, State.QUEUED, 1, 3)
    assert (event.reason, event.token, event.at) == (Reason.ERROR, running.task.token, bench.now)
    assert event.data["ran_s"] == 1.5
    assert event.data["error"]["message"] == "no"
    assert event.data["run_at"].startswith("2026-11-20T12:00:")


# ── the guard ──────────────────────────────────────────────────────


async def test_a_stale_write_of_any_sort_changes_nothing(bench: Bench) -> None:
    first = await bench.run()
    await bench.end(first.task, Snoozed(delay_s=0))
    (second,) = await bench.claim()
    assert first.task.token is not None
    settlement = bench.settle(second.task).settlement
    for token in (first.task.token, NOBODY):
        before = await bench.dump()
        turn = await bench.turn(*attempt_writes(second.task.number, token, settlement))
        assert [refused(result).why for result in turn.results] == [Refusal.STALE] * 4
        assert refused(turn.results[0]).task == second.task
        assert turn.events == []
        assert await bench.dump() == before


async def test_an_attempt_that_has_ended_can_write_no_more(bench: Bench) -> None:
    running = await bench.run()
    assert running.task.token is not None
    settlement = bench.settle(running.task, FAILED).settlement
    await bench.end(running.task)
    before = await bench.dump()
    turn = await bench.turn(*attempt_writes(running.task.number, running.task.token, settlement))
    assert [refused(result).why for result in turn.results] == [Refusal.STALE] * 4
    assert await bench.dump() == before


async def test_two_settlements_in_one_turn_are_one(bench: Bench) -> None:
    running = await bench.run()
    turn = await bench.turn(bench.settle(running.task), bench.settle(running.task, FAILED))
    assert turn.results[0] == Applied()
    assert refused(turn.results[1]).why is Refusal.STALE
    assert (await bench.task(running.task.number)).state is State.SUCCEEDED


async def test_a_write_for_a_task_that_is_not_there_is_refused(bench: Bench) -> None:
    running = await bench.run()
    missing = attempt_writes(99, NOBODY, bench.settle(running.task).settlement)
    nameless = [write(99, bench.now) for write in (RequestCancel, Retry, Hold, Release)]
    turn = await bench.turn(*missing, *nameless)
    assert turn.results == [Refused(Refusal.MISSING)] * 8


async def test_a_settlement_decided_before_a_cancel_request_is_to_be_decided_anew(bench: Bench) -> None:
    running = await bench.run()
    settle = bench.settle(running.task, FAILED)
    marked = applied_task(await bench.write(RequestCancel(running.task.number, bench.now)))
    assert await bench.write(settle) == Refused(Refusal.CHANGED, marked)
    ended = await bench.end(marked, FAILED)
    assert (ended.state, ended.cancel_outcome, ended.error) == (State.CANCELLED, "stopped", ERROR)


async def test_a_settlement_that_saw_a_cancel_request_needs_one(bench: Bench) -> None:
    running = await bench.run()
    assert refused(await bench.write(bench.settle(running.task, cancel_seen=True))).why is Refusal.CHANGED


async def test_a_refused_write_fails_alone(bench: Bench) -> None:
    running = await bench.run(key="a", fingerprint=b"1")
    assert running.task.token is not None
    turn = await bench.turn(
        Save(running.task.number, NOBODY, b"1"),
        Submit(bench.new(key="a", fingerprint=b"2")),
        Submit(bench.new()),
        Save(running.task.number, running.task.token, b"2"),
        Retry(running.task.number, bench.now),
        bench.settle(running.task),
    )
    assert [type(result) for result in turn.results] == [Refused, Refused, Applied, Applied, Refused, Applied]
    assert (await bench.task(running.task.number)).state is State.SUCCEEDED


# ── progress, checkpoints, files ───────────────────────────────────


async def test_progress_is_kept_without_an_event_until_the_next_start(bench: Bench) -> None:
    running = await bench.run()
    assert running.task.token is not None
    progress = Progress(done=2, total=8.5, unit="rows", message="half", at=bench.now)
    turn = await bench.turn(Report(running.task.number, running.task.token, progress))
    assert (turn.results, turn.events) == ([Applied()], [])
    task = await bench.task(running.task.number)
    assert (task.progress, task.version) == (progress, 3)
    assert (await bench.end(task, Snoozed(delay_s=0))).progress == progress
    (again,) = await bench.claim()
    assert again.task.progress is None
    assert again.task == await bench.task(again.task.number)


async def test_a_checkpoint_and_files_are_handed_to_the_next_attempt(bench: Bench) -> None:
    running = await bench.run()
    number, token = running.task.number, running.task.token
    assert token is not None
    assert (running.checkpoint, running.files) == (None, [])
    turn = await bench.turn(
        Save(number, token, b"[1]"),
        Save(number, token, b"[2]"),
        KeepFile(number, token, file(1)),
        KeepFile(number, token, file(0, state="running", size_bytes=None)),
        KeepFile(number, token, file(0)),
    )
    assert turn.results == [Applied()] * 5
    assert turn.events == []
    task = await bench.task(number)
    assert task.version == 7
    await bench.end(task, Snoozed(delay_s=0))
    (again,) = await bench.claim()
    assert (again.checkpoint, again.files) == (b"[2]", [file(0), file(1)])
    assert await bench.store.tasks.files(number) == [file(0), file(1)]


async def test_a_checkpoint_begins_the_count_of_interruptions_anew(bench: Bench) -> None:
    running = await bench.run()
    await bench.end(running.task, Interrupted(error=ERROR))
    (again,) = await bench.claim()
    assert (again.task.interrupted, again.task.token is None) == (1, False)
    assert again.task.token is not None
    await bench.turn(Save(again.task.number, again.task.token, b"1"))
    assert (await bench.task(again.task.number)).interrupted == 0


async def test_every_change_raises_the_version_by_one(bench: Bench) -> None:
    running = await bench.run()
    number, token = running.task.number, running.task.token
    assert token is not None
    writes: list[Write] = [
        Report(number, token, Progress(done=1)),
        Save(number, token, b"1"),
        KeepFile(number, token, file(0)),
        RequestCancel(number, bench.now),
        RequestCancel(number, bench.now),
    ]
    versions: list[int] = []
    for write in writes:
        await bench.turn(write)
        versions.append((await bench.task(number)).version)
    assert versions == [3, 4, 5, 6, 6]

"""What must hold of every task at every commit, whatever led there. Judges histories; knows no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from windlass.contracts.queues import QueueRow
from windlass.contracts.tasks import Turn
from windlass.core.ids import Token
from windlass.core.limits import INTERRUPTED_MAX, LOST_MAX
from windlass.core.state import TRANSITIONS, EventName, State
from windlass.core.task import Event, Task

RETURNED = frozenset({EventName.SNOOZED, EventName.INTERRUPTED, EventName.HELD})
"""What an attempt that used no budget ends in."""


class Replay:
    """The life of one task told by its events alone, to be compared with the task as it stands."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.attempt = self.charged = self.endings = 0
        self.token: Token | None = None
        self.is_held = self.is_cancelling = False

    def take(self, event: Event) -> None:
        before = self.state
        assert TRANSITIONS.get((before, event.name)) is event.state, f"no legal edge from {before}: {event}"
        self.state = event.state
        match event.name:
            case EventName.STARTED:
                assert not self.is_held, f"a held task has started: {event}"
                assert event.token is not None
                self.attempt, self.charged, self.token = self.attempt + 1, self.charged + 1, event.token
            case EventName.RETRIED:
                self.charged = self.endings = 0
                self.is_held = self.is_cancelling = False
            case EventName.CANCEL_REQUESTED:
                self.is_cancelling = True
            case EventName.RELEASED:
                self.is_held = False
            case EventName.EDITED:
                pass
            case _:
                self.is_held = event.name is EventName.HELD
                self.charged -= before is State.RUNNING and event.name in RETURNED
        self.endings += event.state.has_ended and event.name is not EventName.EDITED
        assert self.endings <= 1, f"ended twice: {event}"
        assert not (self.is_cancelling and self.state is State.QUEUED), f"back in spite of a cancel request: {event}"
        assert event.attempt == self.attempt, f"attempts are not 1, 2, 3: {event}"
        of_attempt = State.RUNNING in (before, self.state)
        assert event.token == (self.token if of_attempt else None), f"not the token of that time: {event}"
        if self.state is not State.RUNNING:
            self.token = None


def check_task(task: Task, events: Sequence[Event]) -> None:
    """Check one task against its whole history."""
    assert [event.ordinal for event in events] == list(range(1, len(events) + 1)), f"a gap in the history of {task}"
    told = Replay()
    for event in events:
        told.take(event)
        assert 0 <= told.charged <= task.max_attempts, f"charged {told.charged} of {task.max_attempts}: {event}"
    as_told = (told.state, told.attempt, told.charged, told.token, told.is_held, told.endings)
    stands = (task.state, task.attempt, task.charged, task.token, task.held, task.state.has_ended)
    assert stands == as_told, f"the task and its history differ: {task}"
    assert task.lost <= LOST_MAX
    assert task.interrupted <= INTERRUPTED_MAX


def check_log(tasks: Sequence[Task], events: Sequence[Event]) -> None:
    """Check all tasks against the log: every event in it belongs to one of them, and no token comes twice."""
    seqs = [event.seq for event in events]
    assert seqs == sorted(set(seqs)), "the log does not rise"
    assert {event.number for event in events} == {task.number for task in tasks}, "events of no task, or none of one"
    for task in tasks:
        check_task(task, [event for event in events if event.number == task.number])
    tokens = Counter(event.token for event in events if event.name is EventName.STARTED)
    assert all(times == 1 for times in tokens.values()), f"a token given twice: {tokens.most_common(1)}"


def check_limits(turn: Turn, queues: Sequence[QueueRow]) -> None:
    """Check that a turn has started nothing in a paused queue, and no more in another than may run there at once."""
    started = {claimed.task.queue for claimed in turn.claimed}
    for row in queues:
        if row.queue.name in started:
            assert not row.queue.is_paused, f"started in a paused queue: {row}"
            assert row.queue.concurrency is None or row.running <= row.queue.concurrency, f"too many run: {row}"


def check_claims(turn: Turn, slots: Mapping[str, int]) -> None:
    """Check that a turn has started no more tasks than slots were free."""
    started = Counter(claimed.pool for claimed in turn.claimed)
    assert all(count <= slots.get(pool, 0) for pool, count in started.items()), f"{started} claimed for {slots}"

"""What a store must do, as one page of obvious code: the promises of the Tasks port over plain dictionaries.

Shares nothing with the stores: no index, no batch, no line. Every question is answered by looking at every task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from windlass.contracts import tasks as port
from windlass.contracts.queues import Count, DeclareQueues, QueueRow, SetQueue
from windlass.core.ids import Token
from windlass.core.queue import Queue
from windlass.core.state import EventName, Reason, State
from windlass.core.task import Event, FileRow, NewTask, Task


class Reference:
    """A store as its contract describes it.

    `ready` holds the queued tasks whose time has come, once and for all; `served` the queue that last had its turn;
    `events` those of tasks that are gone, too.
    """

    def __init__(self, make_token: Callable[[], Token]) -> None:
        self.make_token = make_token
        self.last_number = 0
        self.tasks: dict[int, Task] = {}
        self.tombstones: list[port.Tombstone] = []
        self.replays: dict[tuple[str, str], tuple[port.Replay, port.Applied]] = {}
        self.payloads: dict[int, bytes] = {}
        self.results: dict[int, bytes] = {}
        self.checkpoints: dict[int, bytes] = {}
        self.files: dict[int, dict[int, FileRow]] = {}
        self.events: list[Event] = []
        self.ready: set[int] = set()
        self.queues: dict[str, Queue] = {}
        self.given: Counter[str] = Counter()
        self.served = ""

    def turn(self, writes: Sequence[port.Write], wanted: port.Wanted, *, now: datetime) -> port.Turn:
        known = len(self.events)
        results = [self.apply(write, now) for write in writes]
        self.ready |= {task.number for task in self.unready() if task.run_at <= now}
        claimed = list(self.claim(wanted, now))
        due_at = min((task.run_at for task in self.unready()), default=None)
        return port.Turn(results=results, claimed=claimed, events=self.events[known:], next_due_at=due_at)

    def unready(self) -> list[Task]:
        """Give the tasks that only wait for their time."""
        waiting = [task for task in self.tasks.values() if task.state is State.QUEUED and not task.held]
        return [task for task in waiting if task.number not in self.ready]

    def dump(self) -> dict[str, Any]:
        """Give all that a store can be asked for, in the shape of the bench's dump, and the checkpoints."""
        return {
            "tasks": list(self.tasks.values()),
            "events": [event for event in self.events if event.number in self.tasks],
            "running": self.running(),
            "payloads": [self.payloads[number] for number in self.tasks],
            "results": [self.results.get(number) for number in self.tasks],
            "files": [self.files_of(number) for number in self.tasks],
            "checkpoints": {number: kept for number, kept in self.checkpoints.items() if number in self.tasks},
            "unswept": sorted(self.tombstones, key=lambda tombstone: tombstone.number),
            "counts": self.counts(),
            "queues": [self.row_of(name) for name in sorted(self.queues.keys() | self.queues_with_tasks())],
        }

    def queues_with_tasks(self) -> set[str]:
        return {task.queue for task in self.tasks.values()}

    def row_of(self, name: str) -> QueueRow:
        ready = [self.tasks[number].run_at for number in self.ready if self.tasks[number].queue == name]
        queued, running = self.count(name, State.QUEUED), self.count(name, State.RUNNING)
        since = min(ready, default=None)
        return QueueRow(queue=self.queue(name), queued=queued, running=running, ready_since=since)

    def queue(self, name: str) -> Queue:
        return self.queues.get(name, Queue(name=name))

    def count(self, name: str, state: State) -> int:
        return sum((task.queue, task.state) == (name, state) for task in self.tasks.values())

    def counts(self) -> list[Count]:
        """Count the tasks, one by one."""
        tasks, sizes = Counter[tuple[str, str, State]](), Counter[tuple[str, str, State]]()
        for task in self.tasks.values():
            tasks[task.queue, task.kind, task.state] += 1
            sizes[task.queue, task.kind, task.state] += self.size_of(task)
        return [Count(*counted, tasks[counted], sizes[counted]) for counted in sorted(tasks)]

    def size_of(self, task: Task) -> int:
        error = b"" if task.error is None else msgspec.json.encode(task.error)
        return len(self.payloads[task.number]) + len(self.results.get(task.number, b"")) + len(error)

    def running(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.state is State.RUNNING]

    def files_of(self, number: int) -> list[FileRow]:
        return [file for _, file in sorted(self.files.get(number, {}).items())]

    def apply(self, write: port.Write, now: datetime) -> port.WriteResult:
        match write:
            case port.Submit() | port.SubmitBatch():
                return self.submit_once(write, now)
            case port.Prune():
                return self.prune(write)
            case DeclareQueues() | SetQueue():
                return self.set_queues(write)
            case port.Settle() | port.Report() | port.Save() | port.KeepFile():
                return self.write_of_attempt(write)
            case _:
                task = self.find(write.ref)
                return port.Refused(port.Refusal.MISSING) if task is None else self.amend(task, write)

    def find(self, ref: port.TaskRef) -> Task | None:
        return next((task for task in self.tasks.values() if ref in (task.id, task.number)), None)

    def submit_once(self, write: port.Submit | port.SubmitBatch, now: datetime) -> port.WriteResult:
        replay = write.replay
        known = None if replay is None else self.replays.get((replay.scope, replay.key))
        if replay is not None and known is not None and now < known[0].until:
            is_same = replay.fingerprint == known[0].fingerprint
            return replace(known[1], replayed=True) if is_same else port.Refused(port.Refusal.REPLAY)
        before = self.copied()
        if isinstance(write, port.SubmitBatch):
            result = self.submit_all(write.tasks)
        else:
            result = self.submit(write.task)
            if self.first_without_place([write.task], [result]) is not None:
                vars(self).update(before)
                result = port.Refused(port.Refusal.CAPACITY)
        if replay is not None and isinstance(result, port.Applied):
            self.replays[replay.scope, replay.key] = (replay, result)
        return result

    def submit_all(self, batch: Sequence[NewTask]) -> port.WriteResult:
        before = self.copied()
        placed: list[port.Placed] = []
        results: list[port.Applied] = []
        for place, new in enumerate(batch):
            result = self.submit(new)
            task = result.task
            assert task is not None
            if isinstance(result, port.Refused):
                vars(self).update(before)
                return port.Refused(result.why, self.find(task.number), place)
            placed.append(port.Placed(task.id, task.number, task.state, result.created))
            results.append(result)
        if (beyond := self.first_without_place(batch, results)) is not None:
            vars(self).update(before)
            return port.Refused(port.Refusal.CAPACITY, index=beyond)
        return port.Applied(placed=tuple(placed))

    def copied(self) -> dict[str, Any]:
        return {name: copy(value) for name, value in vars(self).items()}

    def first_without_place(self, batch: Sequence[NewTask], results: Sequence[port.WriteResult]) -> int | None:
        """Find the first of the tasks just stored that its queue has no place for."""
        created = [place for place, result in enumerate(results) if isinstance(result, port.Applied) and result.created]
        for place in created:
            name = batch[place].queue
            later = sum(batch[other].queue == name for other in created if other > place)
            capacity = self.queue(name).capacity
            if capacity is not None and self.count(name, State.QUEUED) - later > capacity:
                return place
        return None

    def submit(self, new: NewTask) -> port.Applied | port.Refused:
        for task in self.tasks.values():
            has_key = new.key is not None and (task.key, task.kind, task.origin) == (new.key, new.kind, new.origin)
            if has_key or task.id == new.id:
                is_same = (task.kind, task.fingerprint) == (new.kind, new.fingerprint)
                return port.Applied(task, created=False) if is_same else port.Refused(port.Refusal.KEY, task)
        values = asdict(new)
        number = self.last_number = self.last_number + 1
        self.payloads[number] = values.pop("payload")
        if new.origin is not None:
            self.given[new.origin] += 1
            values["origin_number"] = self.given[new.origin]
        self.tasks[number] = Task(number=number, state=State.QUEUED, **values)
        self.record(number, EventName.SUBMITTED, new.created_at)
        return port.Applied(self.tasks[number])

    def write_of_attempt(self, write: port.Settle | port.Report | port.Save | port.KeepFile) -> port.WriteResult:
        task = self.tasks.get(write.number)
        if task is None:
            return port.Refused(port.Refusal.MISSING)
        if task.state is not State.RUNNING or task.token != write.token:
            return port.Refused(port.Refusal.STALE, task)
        match write:
            case port.Settle():
                return self.settle(task, write)
            case port.Report(progress=progress):
                self.change(task, progress=progress)
            case port.Save(checkpoint=checkpoint):
                self.checkpoints[task.number] = checkpoint
                self.change(task, interrupted=0)
            case port.KeepFile(file=file):
                self.files.setdefault(task.number, {})[file.index] = file
                self.change(task)
        return port.Applied()

    def settle(self, task: Task, write: port.Settle) -> port.WriteResult:
        said = write.settlement
        if said.cancel_seen != (task.cancel_requested_at is not None):
            return port.Refused(port.Refusal.CHANGED, task)
        copied = ("state", "reason", "run_at", "charged", "lost", "interrupted", "held", "solo", "cancel_outcome")
        changes = {field: getattr(said, field) for field in copied}
        changes |= {"token": None, "run_s": task.run_s + write.ran_s}
        changes |= {"finished_at": said.at} if said.state.has_ended else {"started_at": None}
        changes |= {"error": None if said.state is State.SUCCEEDED else said.error or task.error}
        self.change(task, **changes)
        if said.result is not None:
            self.results[task.number] = said.result
        data: dict[str, Any] = {"ran_s": write.ran_s}
        if said.error is not None:
            data["error"] = msgspec.to_builtins(said.error)
        if said.state is State.QUEUED:
            data["run_at"] = msgspec.to_builtins(said.run_at)
        self.record(task.number, said.event, said.at, reason=said.reason, token=write.token, data=data)
        return port.Applied()

    def set_queues(self, write: DeclareQueues | SetQueue) -> port.WriteResult:
        before = dict(self.queues)
        match write:
            case DeclareQueues():
                said = {default.name: default for default in write.queues}
                for name in self.queues.keys() | said.keys():
                    limits = {limit: getattr(said.get(name), limit, None) for limit in ("concurrency", "capacity")}
                    defaults = {f"default_{limit}": value for limit, value in limits.items()}
                    self.queues[name] = replace(self.queue(name), **defaults)
            case SetQueue(name=name):
                limits = {limit: getattr(write, limit) for limit in ("concurrency", "capacity")}
                changes = {f"set_{limit}": value for limit, value in limits.items() if value is not msgspec.UNSET}
                queue = replace(self.queue(name), **changes)
                if write.is_paused is True and queue.paused_at is None:
                    queue = replace(queue, paused_at=write.at)
                if write.pause_reason is not msgspec.UNSET:
                    queue = replace(queue, pause_reason=write.pause_reason)
                if write.is_paused is False or queue.paused_at is None:
                    queue = replace(queue, paused_at=None, pause_reason=None)
                self.queues[name] = queue
        self.queues = {name: queue for name, queue in self.queues.items() if queue != Queue(name=name)}
        named = self.queue(write.name) if isinstance(write, SetQueue) else None
        return port.Applied(created=self.queues != before, queue=named)

    def prune(self, write: port.Prune) -> port.WriteResult:
        ended = [(task.finished_at, task.number, task) for task in self.tasks.values() if task.finished_at]
        early = sorted(end for end in ended if write.before is None or end[0] < write.before)
        going = [task for *_, task in early if task.state in write.states][: write.limit]
        return port.Applied(count=len(going), size_bytes=sum(self.remove(task, write.at) for task in going))

    def remove(self, task: Task, at: datetime) -> int:
        self.tombstones.append(port.Tombstone(task.number, task.id, at, is_swept=False))
        return self.size_of(self.tasks.pop(task.number))

    def amend(self, task: Task, write: port.Write) -> port.WriteResult:
        match write:
            case port.Delete() if task.state.has_ended:
                self.remove(task, write.at)
                return port.Applied(task)
            case port.Edit():
                return self.edit(task, write)
            case port.RequestCancel() if not task.state.has_ended and task.cancel_requested_at is None:
                self.cancel(task, write)
            case port.RequestCancel() if task.state in (State.RUNNING, State.CANCELLED):
                return port.Applied(task, created=False)
            case port.Hide() if not task.state.has_ended and task.cancel_requested_at is None:
                self.cancel(task, port.RequestCancel(write.ref, write.at))
                self.tasks[task.number] = replace(self.tasks[task.number], is_hidden=True)
            case port.Hide() if task.is_hidden:
                return port.Applied(task, created=False)
            case port.Hide():
                self.change(task, is_hidden=True)
            case port.Retry() if task.state.has_ended:
                gone = ("cancel_requested_at", "cancel_reason", "cancel_outcome", "reason", "error", "progress")
                clean = dict.fromkeys((*gone, "started_at", "finished_at")) | {"held": False, "run_at": write.at}
                self.change(task, state=State.QUEUED, charged=0, lost=0, interrupted=0, **clean)
                self.results.pop(task.number, None)
                self.record(task.number, EventName.RETRIED, write.at)
            case port.Hold() if task.held:
                return port.Applied(task, created=False)
            case port.Hold() if task.state is State.QUEUED:
                self.change(task, held=True)
                self.record(task.number, EventName.HELD, write.at)
            case port.Release() if task.held:
                self.change(task, held=False, interrupted=0, lost=0)
                self.record(task.number, EventName.RELEASED, write.at)
            case _:
                return port.Refused(port.Refusal.STATE, task)
        return port.Applied(self.tasks[task.number])

    def edit(self, task: Task, write: port.Edit) -> port.WriteResult:
        said = {name: value for name, value in asdict(write).items() if name not in ("ref", "at")}
        changes = {name: value for name, value in said.items() if value not in (msgspec.UNSET, getattr(task, name))}
        if changes.keys() & {"priority", "run_at", "queue"} and task.state is not State.QUEUED:
            return port.Refused(port.Refusal.STATE, task)
        if changes:
            self.change(task, **changes)
            self.record(task.number, EventName.EDITED, write.at, token=task.token, data=msgspec.to_builtins(changes))
        return port.Applied(self.tasks[task.number], created=bool(changes))

    def cancel(self, task: Task, write: port.RequestCancel) -> None:
        data = None if write.reason is None else {"reason": write.reason}
        asked = {"cancel_requested_at": write.at, "cancel_reason": write.reason}
        if task.state is State.RUNNING:
            self.change(task, grace_s=task.grace_s if write.grace_s is None else write.grace_s, **asked)
            self.record(task.number, EventName.CANCEL_REQUESTED, write.at, token=task.token, data=data)
            return
        ended = {"state": State.CANCELLED, "reason": Reason.CANCELLED, "held": False, "finished_at": write.at}
        self.change(task, **asked, **ended, cancel_outcome="stopped" if task.attempt else "never_started")
        self.record(task.number, EventName.CANCELLED, write.at, reason=Reason.CANCELLED, data=data)

    def change(self, task: Task, **changes: Any) -> None:
        self.tasks[task.number] = replace(task, version=task.version + 1, **changes)

    def record(self, number: int, name: EventName, at: datetime, **more: Any) -> None:
        """Append an event; whatever changed, the task's place in the line is found anew."""
        self.ready.discard(number)
        task = self.tasks[number]
        more |= {"number": number, "task_id": task.id, "kind": task.kind, "state": task.state, "attempt": task.attempt}
        ordinal = 1 + sum(event.number == number for event in self.events)
        self.events.append(Event(seq=len(self.events) + 1, ordinal=ordinal, at=at, name=name, **more))

    def claim(self, wanted: port.Wanted, now: datetime) -> Iterator[port.Claimed]:
        free = dict(wanted.slots)
        while startable := [task for task in self.tasks.values() if self.may_start(task, wanted.pools, free)]:
            queues = sorted({task.queue for task in startable})
            self.served = next((queue for queue in queues if queue > self.served), queues[0])
            line = [task for task in startable if task.queue == self.served]
            task = min(line, key=lambda task: (-task.priority, task.run_at, task.number))
            pool = wanted.pools[task.kind][task.solo]
            free[pool] -= 1
            yield self.start(task, pool, now)

    def may_start(self, task: Task, pools: Mapping[str, tuple[str, str]], free: Mapping[str, int]) -> bool:
        queue = self.queue(task.queue)
        running = self.count(task.queue, State.RUNNING)
        is_open = queue.paused_at is None and (queue.concurrency is None or running < queue.concurrency)
        has_slot = task.kind in pools and free.get(pools[task.kind][task.solo], 0) > 0
        return task.number in self.ready and is_open and has_slot

    def start(self, task: Task, pool: str, now: datetime) -> port.Claimed:
        number, token = task.number, self.make_token()
        counted = {"attempt": task.attempt + 1, "charged": task.charged + 1}
        self.change(task, state=State.RUNNING, token=token, started_at=now, reason=None, progress=None, **counted)
        self.record(number, EventName.STARTED, now, token=token)
        kept = {"checkpoint": self.checkpoints.get(number), "files": self.files_of(number)}
        return port.Claimed(task=self.tasks[number], pool=pool, payload=self.payloads[number], **kept)

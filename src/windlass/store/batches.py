"""Which of the tasks of a batch are new, and which meet another: as if each had been submitted alone, one by one.

Keeps nothing, and knows no store: what is stored already is brought.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from windlass.contracts.tasks import Placed, Refused
from windlass.core.ids import TaskId
from windlass.core.task import NewTask, Task
from windlass.store.moves import met, submitted

Key = tuple[str, str, str]
"""A task's key, its kind, and its origin or nothing: what is unique."""

Entry = Task | int
"""What a task of a batch comes to: one that is stored, or the new one at a place of it, its own or an earlier."""


def key_of(task: NewTask | Task) -> Key | None:
    """Give what must be unique of a task, if it has a key."""
    return None if task.key is None else (task.key, task.kind, task.origin or "")


def meet(
    batch: Sequence[NewTask], *, ids: Mapping[TaskId, Task], keys: Mapping[Key, Task]
) -> Sequence[Entry] | Refused:
    """Say for each of `batch` what it comes to, given the stored tasks that have an id or key of theirs.

    Refuses the whole for the first that meets a task with other content.
    """
    by_id: dict[TaskId, Entry] = {**ids}
    by_key: dict[Key | None, Entry] = {**keys}
    entries: list[Entry] = []
    for place, new in enumerate(batch):
        key = key_of(new)
        entry = by_id.get(new.id, by_key.get(key, place))
        if entry == place:
            by_id[new.id] = place
            if key is not None:
                by_key[key] = place
        else:
            existing = entry if isinstance(entry, Task) else submitted(batch[entry], 0)
            if isinstance(refused := met(existing, new), Refused):
                return Refused(refused.why, entry if isinstance(entry, Task) else None, place)
        entries.append(entry)
    return entries


def first_beyond(
    batch: Sequence[NewTask], entries: Sequence[Entry], places_left: Callable[[str], int | None]
) -> int | None:
    """Find the first of `batch` that is new and for which its queue has no place; `places_left` says how many there
    are before the batch, None: no bound.
    """
    left: dict[str, int | None] = {}
    for place, (new, entry) in enumerate(zip(batch, entries, strict=True)):
        if entry != place:
            continue
        if new.queue not in left:
            left[new.queue] = places_left(new.queue)
        places = left[new.queue]
        if places is not None:
            if places <= 0:
                return place
            left[new.queue] = places - 1
    return None


def placed(entries: Sequence[Entry], new: Mapping[int, Task | Placed]) -> Sequence[Placed]:
    """Name the tasks of a batch, of which those at the places in `new` have been stored."""
    tasks = [entry if isinstance(entry, Task) else new[entry] for entry in entries]
    return tuple(
        Placed(task.id, task.number, task.state, created=entry == place)
        for place, (entry, task) in enumerate(zip(entries, tasks, strict=True))
    )

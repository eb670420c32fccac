"""The settings of the dialects: which are served, and what becomes of a task that comes through one.

Says nothing of their paths and words: those stand in `http.dialects`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from windlass.config.section import Duration, Section, Slots, Text
from windlass.core.limits import DELAY_MAX_S, MAX_ATTEMPTS_MAX, TIMEOUT_MAX_S
from windlass.core.queue import QueueDefaults

DialectName = Literal["downloads", "workmate", "check_result", "tasktrack", "enqueue"]
NAMES: tuple[DialectName, ...] = get_args(DialectName)

Kind = Annotated[Text, Meta(description="The kind that its tasks run; one of your own gets the same payload.")]
Concurrency = Annotated[Slots, Meta(description="Tasks of its queue that run at once.")]
Capacity = Annotated[
    int, Meta(ge=1, le=10_000_000, description="Tasks that may wait in its queue; with so many the next is refused.")
]
Attempts = Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS_MAX, description="Failures that end a task.")]
Durations = Annotated[
    list[Duration],
    Meta(
        min_length=1,
        max_length=2,
        description="Seconds of the simulated work: one number, or the shorter and the longer end of a range.",
    ),
]
Rate = Annotated[float, Meta(ge=0, le=1, description="The chance of the simulated work to fail.")]
Delay = Annotated[float, Meta(ge=0, le=DELAY_MAX_S)]


class Dialect(Section, frozen=True):
    """What is set of every dialect."""

    kind: Kind
    concurrency: Concurrency
    capacity: Capacity


class SimulatedDialect(Dialect, frozen=True):
    """What is set of a dialect whose work is simulated, as long as its kind is `simulate`."""

    duration_s: Durations
    failure_rate: Rate = 0.0


def _range(shortest: float, longest: float) -> Any:
    return msgspec.field(default_factory=lambda: [shortest, longest])


class DownloadsDialect(Dialect, frozen=True):
    """The dialect at `/tasks`: lists of urls to download. How many files are fetched at once says `downloads`."""

    kind: Kind = "download"
    concurrency: Concurrency = 64
    capacity: Capacity = 100
    max_attempts: Attempts = 3


class WorkmateDialect(SimulatedDialect, frozen=True):
    """The dialect at `/task`: work that is started, watched, asked for its result and stopped."""

    kind: Kind = "simulate"
    concurrency: Concurrency = 16
    capacity: Capacity = 10_000
    max_attempts: Attempts = 1
    duration_s: Durations = _range(180.0, 300.0)
    failure_rate: Rate = 0.1


class CheckResultDialect(SimulatedDialect, frozen=True):
    """The dialect at `/task/create` and `/task/check-result`: work that is never begun a second time."""

    kind: Kind = "simulate"
    concurrency: Concurrency = 100
    capacity: Capacity = 10_000
    timeout_s: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_S, description="Seconds after which a task that still runs fails.")
    ] = 240.0
    duration_s: Durations = _range(60.0, 180.0)
    failure_rate: Rate = 0.0


class TasktrackDialect(SimulatedDialect, frozen=True):
    """The dialect at `/api/task`: named tasks with numbers of their own."""

    kind: Kind = "simulate"
    concurrency: Concurrency = 16
    capacity: Capacity = 10_000
    max_attempts: Attempts = 1
    duration_s: Durations = _range(180.0, 300.0)
    failure_rate: Rate = 0.1


class EnqueueDialect(SimulatedDialect, frozen=True):
    """The dialect at `/enqueue`: messages with an id of the sender's, retried as often as that says."""

    kind: Kind = "simulate"
    concurrency: Concurrency = 4
    capacity: Capacity = 64
    duration_s: Durations = _range(0.1, 0.15)
    failure_rate: Rate = 0.2
    retry_base_s: Annotated[Delay, Meta(description="Seconds before the first retry at most; doubled for each.")] = 0.1
    retry_cap_s: Annotated[Delay, Meta(description="Seconds between two attempts at most.")] = 10.0


class Dialects(Section, frozen=True):
    """HTTP contracts of other services, served beside the native API."""

    enabled: Annotated[
        list[DialectName],
        Meta(description="Those that are served. May be written `dialects = [...]` or `WINDLASS_DIALECTS` as well."),
    ] = msgspec.field(default_factory=lambda: list(NAMES))
    auth: Annotated[
        Literal["off", "key"],
        Meta(description="`off`: their routes need no key. `key`: they need one wherever the native API does."),
    ] = "off"
    downloads: DownloadsDialect = DownloadsDialect()
    workmate: WorkmateDialect = WorkmateDialect()
    check_result: CheckResultDialect = CheckResultDialect()
    tasktrack: TasktrackDialect = TasktrackDialect()
    enqueue: EnqueueDialect = EnqueueDialect()

    @property
    def queues(self) -> list[QueueDefaults]:
        """What is set of the queues of those that are served; each has its dialect's name."""
        chosen: dict[str, Dialect] = {name: getattr(self, name) for name in NAMES if name in self.enabled}
        return [
            QueueDefaults(name=name, concurrency=dialect.concurrency, capacity=dialect.capacity)
            for name, dialect in chosen.items()
        ]


def broken_rules(dialects: Dialects) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find what is wrong beyond the type and the bounds of a single setting; gives the settings and what is wrong."""
    for name in NAMES:
        dialect = getattr(dialects, name)
        if isinstance(dialect, SimulatedDialect) and dialect.duration_s != sorted(dialect.duration_s):
            yield (
                (f"dialects.{name}.duration_s",),
                "the shorter end of the range must come first: swap the two",
            )

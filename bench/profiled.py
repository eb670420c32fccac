"""Runs the `windlass` command and keeps where its time goes: `python -m bench.profiled OUTPUT serve ...`.

Changes nothing of what it runs; slows it by about a tenth. SIGUSR1 begins; the output is written at the end.
"""

from __future__ import annotations

import cProfile
import pstats
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from windlass.cli.main import main as run_windlass

_EVERY_S: Final = 0.002
_LOOK_AT_THREADS_EVERY: Final = 50
_WRITER: Final = "store-writer"

Stack = tuple[str, ...]


class Share(msgspec.Struct, frozen=True):
    """A function, and how much of its thread's time went by in it alone and with all it calls, in seconds."""

    function: str
    own_s: float
    whole_s: float
    calls: int = 0


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of a server went. `threads` is the processor time of each thread by name.

    `loop` are stacks of the event loop's thread, outermost first, weighed by its processor time. `writer` are functions
    of the thread that writes to the store, by the wall clock: what it waits for, the disk and the interpreter's lock,
    is in it.
    """

    threads: dict[str, float]
    loop: list[tuple[Stack, float]]
    writer: list[Share]


class Sampler:
    """Samples the main thread each time the process has worked for two milliseconds.

    Each stack is given the processor time of this very thread since the last sample, so that what other threads work
    does not count.
    """

    def __init__(self) -> None:
        self._stacks: defaultdict[Stack, float] = defaultdict(float)
        self._threads: dict[int, tuple[str, float, float]] = {}
        self._last_s = 0.0
        self._samples = 0
        signal.signal(signal.SIGUSR1, self._begin)

    def _begin(self, _signum: int, _frame: FrameType | None) -> None:
        self._look_at_threads()
        self._last_s = time.thread_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def _sample(self, _signum: int, frame: FrameType | None) -> None:
        now_s = time.thread_time()
        stack: list[str] = []
        while frame is not None:
            stack.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        self._stacks[tuple(reversed(stack))] += now_s - self._last_s
        self._last_s = now_s
        self._samples += 1
        if self._samples % _LOOK_AT_THREADS_EVERY == 0:
            self._look_at_threads()

    def _look_at_threads(self) -> None:
        """Read the processor time of each thread; those that have ended keep what was read last."""
        for thread in threading.enumerate():
            try:
                spent_ns = int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
            except OSError:
                continue
            name, first_s, _ = self._threads.get(thread.native_id or 0, (thread.name, spent_ns / 1e9, 0.0))
            self._threads[thread.native_id or 0] = (name, first_s, spent_ns / 1e9)

    def end(self) -> tuple[dict[str, float], list[tuple[Stack, float]]]:
        """Stop sampling; gives the threads' times and the stacks."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._look_at_threads()
        threads: defaultdict[str, float] = defaultdict(float)
        for name, first_s, last_s in self._threads.values():
            threads[name] += last_s - first_s
        return dict(threads), list(self._stacks.items())


class WriterProfile:
    """Profiles the thread that writes to the store, from its first call on."""

    def __init__(self) -> None:
        self._profile: cProfile.Profile | None = None
        threading.setprofile(self._hook)

    def _hook(self, _frame: FrameType, _event: str, _argument: Any) -> None:
        sys.setprofile(None)
        if threading.current_thread().name.startswith(_WRITER):
            self._profile = cProfile.Profile()
            self._profile.enable()

    def shares(self) -> list[Share]:
        """Give the functions; the thread must have ended."""
        if self._profile is None:
            return []
        stats: Any = pstats.Stats(self._profile)
        return [
            Share(f"{_module(path)}:{name}", own_s, whole_s, calls)
            for (path, _, name), (_, calls, own_s, whole_s, _) in stats.stats.items()
        ]


def _module(path: str) -> str:
    """Spell a path as the module it is."""
    _, found, rest = path.rpartition("/src/")
    if not found:
        _, found, rest = path.rpartition("/site-packages/")
    return rest.removesuffix(".py").replace("/", ".") if found else Path(path).stem


def main() -> int:
    """Run the command under both profiles."""
    output, *words = sys.argv[1:]
    sampler, writer = Sampler(), WriterProfile()
    try:
        return run_windlass(words)
    finally:
        threads, loop = sampler.end()
        Path(output).write_bytes(msgspec.json.encode(Profile(threads=threads, loop=loop, writer=writer.shares())))


if __name__ == "__main__":
    sys.exit(main())

"""What a run says: one JSON document for machines, one table for people. Measures nothing but the machine itself."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from bench.beds import Bed
from bench.limits import sync_ms
from bench.rounds import Measured, Middle
from bench.sizes import Sizes

_PACKAGES: Final = ("windlass", "apsw", "uvicorn", "uvloop", "httptools", "msgspec")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the run took place, and how quiet it was there.

    `others_share` is the share of all processors' time that went to programs outside this run.
    """

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    file_system: str
    sync_ms: float
    load_before: float
    load_after: float
    others_share: float


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The run."""

    at: datetime
    database: str
    machine: Machine
    versions: dict[str, str]
    sizes: Sizes
    benches: dict[str, Measured]
    took_s: float


class Observer:
    """Looks at the machine before and after a run."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._sync_ms = sync_ms(bed.directory)
        self._load = os.getloadavg()[0]
        self._began_at = time.monotonic()
        self._busy_s, self._ours_s = _busy_s(), _ours_s()

    def document(self, sizes: Sizes, benches: Mapping[str, Measured]) -> Document:
        """Put the document of the run together."""
        took_s = time.monotonic() - self._began_at
        cores = os.cpu_count() or 1
        others_s = (_busy_s() - self._busy_s) - (_ours_s() - self._ours_s)
        machine = Machine(
            processor=_processor(),
            cores=cores,
            memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            kernel=platform.release(),
            file_system=_file_system(self._bed.directory),
            sync_ms=round(self._sync_ms, 3),
            load_before=self._load,
            load_after=os.getloadavg()[0],
            others_share=round(max(0.0, others_s) / (took_s * cores), 3),
        )
        versions = {"python": platform.python_version(), **self._bed.versions}
        versions |= {package: version(package) for package in _PACKAGES}
        return Document(
            at=datetime.now(UTC),
            database=self._bed.name,
            machine=machine,
            versions=versions,
            sizes=sizes,
            benches=dict(benches),
            took_s=took_s,
        )


def _busy_s() -> float:
    """Read the time that all processors together have worked since boot."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _ours_s() -> float:
    """Read the time that this process, and all that it has started and seen end, have worked."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _file_system(directory: Path) -> str:
    """Name the type of the file system that `directory` is on."""
    device = directory.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return next((mount[mount.index("-") + 1] for mount in mounts if mount[2] == name), "unknown")


def table(document: Document) -> Iterator[str]:
    """Write the document for people."""
    machine = document.machine
    yield (
        f"{document.at:%Y-%m-%d}, {document.database}, {document.sizes.name} sizes: {machine.processor}, "
        f"{machine.cores} cores, {machine.memory_gib:g} GiB, {machine.file_system}, one sync {machine.sync_ms:.2f} ms"
    )
    yield ", ".join(f"{name} {number}" for name, number in document.versions.items())
    yield f"other programs took {machine.others_share:.0%} of the processors meanwhile"
    if machine.file_system == "tmpfs":
        yield "THE FILES ARE IN MEMORY: nothing here was durable; give a directory on a disk with --directory"
    for name, measured in document.benches.items():
        yield ""
        yield f"{name:<44}{'median':>12}{'low':>12}{'high':>12}   {measured.rounds} rounds, {measured.took_s:.0f} s"
        for figure, middle in measured.figures.items():
            yield f"  {figure:<42}{_spell(middle)}"
        for ratio, middle in measured.ratios.items():
            yield f"  {ratio:<42}{_spell(middle)}"


def _spell(middle: Middle) -> str:
    return "".join(f"{_number(value):>12}" for value in (middle.median, middle.low, middle.high))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"

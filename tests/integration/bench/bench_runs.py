"""Runs `python -m bench` as a process of its own, as `make bench` does, and looks for what it may have left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run_bench(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a bench in its tiny size with all its files in `directory`."""
    return subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", "--directory", str(directory), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def processes_in(directory: Path) -> list[int]:
    """Name the processes whose working directory is in `directory`, one that is removed included."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
            except OSError:
                continue
            if where.is_relative_to(directory):
                found.append(int(entry.name))
    return found

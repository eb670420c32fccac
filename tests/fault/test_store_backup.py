"""A backup made while submits pour in: it holds all that was acknowledged before, and a server can be started on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import urllib3
from clean import assert_clean
from live import LiveServer, running, until


class Pouring:
    """Submits without pause, and remembers what was acknowledged."""

    def __init__(self, server: LiveServer) -> None:
        self.acknowledged: list[str] = []
        self._url = f"{server.url}/v1/tasks"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._pour) for _ in range(3)]

    def __enter__(self) -> Pouring:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _pour(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(30))
        body = {"kind": "simulate", "payload": {"duration_s": 0}, "description": "x" * 2_000}
        while not self._stop.is_set():
            answer = pool.request("POST", self._url, json=body)
            assert answer.status == 202, answer.data
            self.acknowledged.append(answer.json()["id"])


def windlass(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "windlass", *words], capture_output=True, text=True, check=False)


@pytest.mark.timeout(120)
def test_a_backup_under_load_is_clean_and_holds_all_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (second / "data").mkdir(parents=True)
    with running(first, WINDLASS_LOG_LEVEL="warning") as server:
        with Pouring(server) as pouring:
            until(lambda: len(pouring.acknowledged) > 300, "much was acknowledged")
            before = list(pouring.acknowledged)
            made = windlass("db", "backup", str(tmp_path / "copy.db"), "--data", str(first / "data"))
            assert made.returncode == 0, made.stderr
            until(lambda: len(pouring.acknowledged) > len(before) + 100, "submits go on")
        assert_clean(first / "data")
        shutil.copy(tmp_path / "copy.db", second / "data" / "windlass.db")
        assert_clean(second / "data")
        with running(second, WINDLASS_LOG_LEVEL="warning") as restored:
            for task in before:
                assert restored.wait({"id": task})["state"] == "succeeded"
            assert restored.stop() == 0
        assert_clean(second / "data")

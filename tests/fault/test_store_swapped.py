"""A database that is taken away from under a running server."""

from __future__ import annotations

from pathlib import Path

import pytest
from live import is_alive, running


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["unlinked", "replaced"])
def test_a_server_whose_database_is_taken_away_stops_with_a_code_of_its_own(tmp_path: Path, how: str):
    with running(tmp_path) as server:
        task = server.submit("simulate", {"duration_s": 300})
        server.wait(task, "running")
        workers = server.workers()
        database = tmp_path / "data" / "windlass.db"
        aside = tmp_path / "aside.db"
        database.rename(aside)
        if how == "replaced":
            database.write_bytes(aside.read_bytes())
        assert server.process is not None
        assert server.process.wait(30) == 74
        assert "removed, replaced or linked elsewhere" in server.tail()
        assert not any(is_alive(pid) for pid in workers)

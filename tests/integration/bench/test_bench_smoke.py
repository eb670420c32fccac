"""Every bench in its tiny size: it comes to an end, says what machines read, and leaves nothing behind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from bench_runs import processes_in, run_bench
from postgres_server import need_postgres

FIGURES = {
    "submits": {
        "bare_submits_per_s",
        "later_submits_per_s",
        "now_submits_per_s",
        "now_run_per_s",
        "later_submit_p99_ms",
    },
    "drain": {"raw_inserts_per_s", "slots_64_run_per_s", "slots_64_server_cpu_us"},
    "end_to_end": {"raw_inserts_per_s", "slots_64_submits_per_s", "slots_64_run_per_s", "slots_64_server_cpu_us"},
    "latency": {"bare_answer_p50_ms", "start_p50_ms", "start_p99_ms", "start_over_bare_p50_ms"},
    "turns": {"raw_inserts_per_s", "slots_64_lives_per_s"},
    "growth": {"claim_waiting_200_ms", "submit_waiting_1k_ms", "claim_held_200_ms", "page_finished_200_ms"},
    "memory": {"bare_rss_mib", "idle_server_rss_mib", "idle_worker_rss_mib", "waiting_tasks_add_mib"},
}
RATIOS = {
    "submits": "later_submits / bare_submits",
    "drain": "slots_64_run / raw_inserts",
    "end_to_end": "slots_64_run / raw_inserts",
    "latency": "start_p50 / bare_answer_p50",
    "turns": "slots_64_lives / raw_inserts",
    "growth": "claim_waiting_1k / claim_waiting_200",
    "memory": "idle_server / bare",
}
MAY_BE_ANYTHING = ("waiting_tasks_add_mib", "start_over_bare_p50_ms", "start_over_bare_p99_ms")
COARSE = "cpu"
"""The kernel counts processor time in hundredths of a second, and a tiny bench takes few of them."""


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_bench_says_its_figures_and_their_ratios_to_a_limit(name: str, tmp_path: Path) -> None:
    ran = run_bench(tmp_path, "--only", name, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["sizes"]["name"] == "tiny"
    assert document["database"] == "sqlite"
    assert document["machine"]["cores"] >= 1
    assert {"python", "windlass", "sqlite", "uvicorn"} <= set(document["versions"])
    assert list(document["benches"]) == [name]
    bench = document["benches"][name]
    assert bench["rounds"] == 1
    assert FIGURES[name] <= set(bench["figures"])
    assert RATIOS[name] in bench["ratios"]
    for figure, middle in {**bench["figures"], **bench["ratios"]}.items():
        check_middle(figure, middle)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["end_to_end", "turns"])
def test_a_bench_on_postgresql_has_a_limit_of_its_own(name: str, tmp_path: Path) -> None:
    need_postgres()
    ran = run_bench(tmp_path, "--database", "postgres", "--only", name, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["database"] == "postgres"
    assert {"postgresql", "asyncpg"} <= set(document["versions"])
    bench = document["benches"][name]
    assert {each.replace("inserts", "lives") for each in FIGURES[name]} <= set(bench["figures"])
    assert RATIOS[name].replace("inserts", "lives") in bench["ratios"]
    for figure, middle in {**bench["figures"], **bench["ratios"]}.items():
        check_middle(figure, middle)
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def check_middle(name: str, middle: dict[str, Any]) -> None:
    assert set(middle) == {"median", "low", "high"}, name
    assert all(math.isfinite(value) for value in middle.values()), name
    assert middle["low"] <= middle["median"] <= middle["high"], name
    if name not in MAY_BE_ANYTHING:
        assert middle["low"] >= 0, name
        assert middle["low"] > 0 or COARSE in name, name


def test_a_bench_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    ran = run_bench(tmp_path, "--only", "drain", "--json")
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_a_ratio_is_taken_within_its_round(tmp_path: Path) -> None:
    ran = run_bench(tmp_path, "--only", "turns", "--json", "--rounds", "2")
    bench = json.loads(ran.stdout)["benches"]["turns"]
    ratio, lives, raw = (
        bench["ratios"]["slots_64_lives / raw_inserts"],
        bench["figures"]["slots_64_lives_per_s"],
        bench["figures"]["raw_inserts_per_s"],
    )
    assert bench["rounds"] == 2
    in_order = {lives["low"] / raw["low"], lives["high"] / raw["high"]}
    crossed = {lives["low"] / raw["high"], lives["high"] / raw["low"]}
    found = (ratio["low"], ratio["high"])
    assert found == pytest.approx(sorted(in_order)) or found == pytest.approx(sorted(crossed))


def test_the_table_names_the_machine_and_every_figure(tmp_path: Path) -> None:
    ran = run_bench(tmp_path, "--only", "turns")
    assert ran.returncode == 0, ran.stderr
    for word in ("cores", "apsw", "slots_64_lives_per_s", "slots_64_lives / raw_inserts"):
        assert word in ran.stdout


def test_a_profile_gives_each_load_its_shares(tmp_path: Path) -> None:
    ran = run_bench(tmp_path, "--profile")
    assert ran.returncode == 0, ran.stderr
    assert [line.split(":")[0] for line in ran.stdout.splitlines() if line.startswith("──")] == [
        "── submits that wait",
        "── submits that run at once",
        "── a backlog, 200 slots",
    ]
    assert "MainThread" in ran.stdout
    assert "turns of" in ran.stdout


def test_an_unknown_bench_is_refused(tmp_path: Path) -> None:
    ran = run_bench(tmp_path, "--only", "everything")
    assert ran.returncode == 2
    assert "growth" in ran.stderr

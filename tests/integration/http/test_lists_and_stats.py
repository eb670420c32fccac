"""Finding tasks, and counting them."""

from __future__ import annotations

from typing import Any

import pytest
from live_front import Live


def test_lists_are_filtered_by_time_and_by_what_tasks_wait_for(live: Live):
    first, second = live.submit(queue="t"), live.submit(queue="t")
    live.ask("POST", f"/v1/tasks/{second['id']}/hold")
    ended = live.end(queue="t")

    def numbers(query: str) -> list[int]:
        return list(live.numbers(f"queue=t&{query}"))

    assert numbers(f"created_after={first['created_at']}") == [ended["number"], second["number"]]
    assert numbers(f"created_before={second['created_at']}") == [first["number"]]
    assert numbers("waiting=until") == [first["number"]]
    assert numbers("waiting=hold") == [second["number"]]
    assert numbers("waiting=retry") == numbers("waiting=dependencies") == []
    assert numbers("finished_after=2020-01-01T00:00:00Z") == [ended["number"]]
    assert numbers(f"finished_before={ended['finished_at']}") == []


def test_a_list_is_searched_by_id_number_key_and_the_beginning_of_a_name(live: Live):
    task = live.submit(queue="q", key="order/7", name="Q%_Report November")
    live.submit(queue="q", name="Q1 others")
    for text in (task["id"], str(task["number"]), "order/7", "Q%_", "Q%_Rep"):
        query = text.replace("%", "%25")
        assert live.numbers(f"queue=q&q={query}") == [task["number"]], text
    assert live.numbers("queue=q&q=November") == []


def test_ended_tasks_are_listed_by_their_end_page_by_page(live: Live):
    slow = live.submit(queue="end", delay=0, payload={"duration_s": 0.4})
    fast = live.end(queue="end")
    while live.ask("GET", f"/v1/tasks/{slow['id']}?wait=5").json["state"] != "succeeded":
        pass
    last = live.end(queue="end")
    expected = [last["number"], slow["number"], fast["number"]]
    for limit in (1, 2, 50):
        assert live.numbers(f"queue=end&state=succeeded&order=-finished_at&limit={limit}") == expected


def test_the_link_to_the_next_page_keeps_the_query(live: Live):
    for _ in range(3):
        live.submit(queue="link", tags={"a": "b c&d"})
    answer = live.ask("GET", "/v1/tasks?tag=a:b%20c%26d&limit=2")
    assert len(answer.json["tasks"]) == 2
    link = answer.headers["link"]
    assert link.startswith("</v1/tasks?")
    assert link.endswith(f'cursor={answer.json["next_cursor"]}>; rel="next"')
    last = live.ask("GET", link[1:].partition(">")[0])
    assert (len(last.json["tasks"]), last.json["next_cursor"], "link" in last.headers) == (1, None, False)


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("order=-finished_at", "/order", "invalid_value"),
        ("order=-finished_at&state=queued", "/order", "invalid_value"),
        ("waiting=slot", "/waiting", "invalid_value"),
        ("created_after=yesterday", "/created_after", "invalid_value"),
        ("created_before=2026-11-20T15:00:00", "/created_before", "invalid_value"),
        ("finished_after=2026-11-20", "/finished_after", "invalid_value"),
        ("q=", "/q", "invalid_value"),
        ("q=" + "x" * 257, "/q", "invalid_value"),
        ("dry_run=true", "/dry_run", "unknown_field"),
    ],
)
def test_a_wrong_filter_is_refused_by_name(live: Live, query: str, pointer: str, code: str):
    answer = live.ask("GET", f"/v1/tasks?{query}")
    assert (answer.status, answer.faults) == (422, [(pointer, code)])


def test_a_word_that_is_none_is_told_the_words_there_are(live: Live):
    detail = live.ask("GET", "/v1/tasks?waiting=slot").json["detail"]
    assert detail == "must be one of until, retry, dependencies, hold"


def queue_of(stats: Any, name: str) -> Any:
    return next(queue for queue in stats["queues"] if queue["name"] == name)


def test_the_counters_say_how_many_tasks_are_where(live: Live):
    live.submit_many(7, queue="counted", payload={"echo": "x" * 1_000})
    live.end(queue="counted")
    live.run(queue="counted")
    stats = live.ask("GET", "/v1/stats").json
    queue = queue_of(stats, "counted")
    assert queue["tasks"] == {"queued": 7, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0}
    assert queue["size_bytes"] > 7_000
    for state in ("queued", "running", "succeeded", "failed", "cancelled"):
        assert stats["tasks"][state] == sum(queue["tasks"][state] for queue in stats["queues"])
        assert stats["tasks"][state] == len(live.numbers(f"state={state}&limit=500"))
    assert stats["size_bytes"] == sum(queue["size_bytes"] for queue in stats["queues"])
    assert stats["store"]["kind"] in ("memory", "sqlite", "postgresql")
    assert "place" not in stats["store"]
    live.ask("POST", "/v1/bulk", {"action": "cancel", "filter": {"queue": "counted"}, "grace_s": 0})


def test_the_rates_say_what_has_happened_lately(live: Live):
    before = live.ask("GET", "/v1/stats").json
    live.submit_many(600, queue="rated")
    live.ask("POST", "/v1/bulk", {"action": "cancel", "filter": {"queue": "rated"}})
    after = live.ask("GET", "/v1/stats").json
    assert [rates["window_s"] for rates in after["rates"]] == [60, 300]
    assert after["uptime_s"] > before["uptime_s"]
    for rates in after["rates"]:
        covered_s = max(1.0, min(rates["window_s"], after["uptime_s"]))
        assert rates["submitted"] * covered_s * 1.01 >= 600
        assert rates["cancelled"] * covered_s * 1.01 >= 600
        assert rates["failed"] == 0

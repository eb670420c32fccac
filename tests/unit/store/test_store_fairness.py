"""Which ready tasks start next: the rule alone, over lanes made of lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from windlass.store.fairness import Pick, Urgency, pick


class ListedLane:
    """A lane that is a list."""

    def __init__(self, queue: str, pool: str, line: Sequence[Urgency]) -> None:
        self.queue = queue
        self.pool = pool
        self._line = sorted(line)

    def head(self) -> Urgency | None:
        return self._line[0] if self._line else None

    def take(self) -> Urgency:
        return self._line.pop(0)


def lane(queue: str, pool: str, *numbers: int) -> ListedLane:
    return ListedLane(queue, pool, [(0, 0, number) for number in numbers])


def chosen(picks: Sequence[Pick[Urgency]]) -> list[int]:
    return [choice.candidate[2] for choice in picks]


def test_nothing_is_picked_without_lanes_or_slots() -> None:
    assert list(pick([], {"p": 3}, rooms={}, served=None)) == []
    assert list(pick([lane("a", "p", 1)], {}, rooms={}, served=None)) == []
    assert list(pick([lane("a", "p", 1)], {"p": 0}, rooms={}, served=None)) == []


def test_queues_take_turns_beginning_after_the_one_served_last() -> None:
    def picked(served: str | None) -> str:
        lanes = [lane("b", "p", 1, 2), lane("a", "p", 3, 4), lane("c", "p", 5, 6)]
        return "".join(choice.queue for choice in pick(lanes, {"p": 4}, rooms={}, served=served))

    assert [picked(served) for served in (None, "a", "b", "c", "bb", "z")] == [
        "abca",
        "bcab",
        "cabc",
        "abca",
        "cabc",
        "abca",
    ]


def test_lanes_of_one_queue_are_merged_by_urgency() -> None:
    lanes = [lane("a", "p", 1, 4, 5), lane("a", "q", 2, 3, 6)]
    assert chosen(list(pick(lanes, {"p": 9, "q": 9}, rooms={}, served=None))) == [1, 2, 3, 4, 5, 6]


def test_a_lane_whose_pool_is_full_does_not_hold_up_its_queue() -> None:
    lanes = [lane("a", "p", 1, 2, 3), lane("a", "q", 4, 5)]
    picks = list(pick(lanes, {"p": 1, "q": 9}, rooms={}, served=None))
    assert [(choice.candidate[2], choice.pool) for choice in picks] == [(1, "p"), (4, "q"), (5, "q")]


names = st.sampled_from("abc")
lanes_drawn = st.lists(
    st.tuples(names, st.sampled_from("pq"), st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2)), max_size=6)),
    max_size=6,
)


def test_a_queue_starts_no_more_than_it_has_room_for_whatever_its_lanes() -> None:
    lanes = [lane("a", "p", 1, 4), lane("a", "q", 2, 3), lane("b", "p", 5, 6)]
    picks = list(pick(lanes, {"p": 9, "q": 9}, rooms={"a": 3, "c": 1}, served=None))
    assert [(choice.queue, choice.candidate[2]) for choice in picks] == [
        ("a", 1),
        ("b", 5),
        ("a", 2),
        ("b", 6),
        ("a", 3),
    ]


def test_a_queue_without_room_is_not_looked_at() -> None:
    class Closed(ListedLane):
        def head(self) -> Urgency | None:
            raise AssertionError("somebody looks into a queue that has no room")

    for lanes in ([Closed("a", "p", [])], [Closed("a", "p", []), lane("b", "p", 1)]):
        assert [choice.queue for choice in pick(lanes, {"p": 9}, rooms={"a": 0}, served=None)] == ["b"][
            : len(lanes) - 1
        ]


def test_the_only_lane_keeps_to_its_room_and_to_the_slots() -> None:
    for slots, room in ((2, 9), (9, 2)):
        assert len(list(pick([lane("a", "p", 1, 2, 3)], {"p": slots}, rooms={"a": room}, served=None))) == 2


@given(
    lanes_drawn,
    st.dictionaries(st.sampled_from("pqr"), st.integers(-1, 8)),
    st.dictionaries(names, st.integers(0, 5)),
    st.none() | names,
)
def test_slots_and_rooms_are_never_exceeded_and_never_left_free_beside_ready_work(
    drawn: list[tuple[str, str, list[tuple[int, int]]]],
    slots: dict[str, int],
    rooms: dict[str, int],
    served: str | None,
) -> None:
    lanes = [
        ListedLane(queue, pool, [(priority, at, 100 * place + n) for n, (priority, at) in enumerate(line)])
        for place, (queue, pool, line) in enumerate(drawn)
    ]
    picks = list(pick(lanes, slots, rooms=rooms, served=served))
    taken = Counter(choice.pool for choice in picks)
    started = Counter(choice.queue for choice in picks)
    assert all(count <= slots.get(pool, 0) for pool, count in taken.items())
    assert all(count <= rooms.get(queue, count) for queue, count in started.items())
    for left in lanes:
        is_full = taken[left.pool] >= slots.get(left.pool, 0)
        assert left.head() is None or is_full or started[left.queue] == rooms.get(left.queue), "work beside room for it"
    assert len(set(chosen(picks))) == len(picks)
    for queue in "abc":
        for pool in "pq":
            line = [choice.candidate for choice in picks if (choice.queue, choice.pool) == (queue, pool)]
            assert line == sorted(line)

"""Names, instants and values survive the way into a row and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.ids import TaskId
from windlass.store.instants import from_micros, to_micros
from windlass.store.sqlite.rows import blob_id, id_blob, json_text, optional_micros

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-12))])


@given(st.datetimes(timezones=ZONES).filter(lambda at: 2 < at.year < 9_998))
def test_an_instant_comes_back_to_the_microsecond_and_in_utc(at: datetime) -> None:
    back = from_micros(to_micros(at))
    assert back == at
    assert back.tzinfo is UTC


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_microseconds_order_instants_as_they_are(one: datetime, other: datetime) -> None:
    assert (one < other) == (to_micros(one) < to_micros(other))


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        to_micros(datetime(2026, 1, 1))  # noqa: DTZ001


@given(st.uuids())
def test_an_id_comes_back_from_its_sixteen_bytes(task_id: object) -> None:
    blob = id_blob(str(task_id))
    assert len(blob) == 16
    assert blob_id(blob) == TaskId(str(task_id))


def test_nothing_stays_nothing() -> None:
    assert optional_micros(None) is None
    assert json_text(None) is None
    assert json_text({}) == "{}"

"""Which migrations a store lacks, and which stores are refused."""

from __future__ import annotations

import hashlib

import pytest

from windlass.errors import SchemaMismatch
from windlass.store.migrate import Migration, load_migrations, pending

ONE, TWO = (Migration(version=n, name=f"m{n}", sql="", checksum=f"sum{n}") for n in (1, 2))


def test_the_steps_of_the_sqlite_store_are_numbered_without_gaps() -> None:
    migrations = load_migrations("windlass.store.sqlite")
    assert [migration.version for migration in migrations] == list(range(1, len(migrations) + 1))
    for migration in migrations:
        assert migration.checksum == hashlib.sha256(migration.sql.encode()).hexdigest()


def test_a_store_lacks_what_it_has_not_recorded() -> None:
    assert pending([ONE, TWO], {}) == [ONE, TWO]
    assert pending([ONE, TWO], {1: "sum1"}) == [TWO]
    assert pending([ONE, TWO], {1: "sum1", 2: "sum2"}) == []


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ({1: "sum1", 2: "sum2", 3: "sum3"}, "has schema version 3; this program knows up to 2"),
        ({1: "sum1", 2: "other"}, r"version 2, of which step 2 \(m2\) is not the one"),
        ({2: "sum2"}, r"version 2, of which step 1 \(m1\) is not the one"),
    ],
)
def test_a_store_that_went_another_way_is_refused(recorded: dict[int, str], message: str) -> None:
    with pytest.raises(SchemaMismatch, match=message) as refusal:
        pending([ONE, TWO], recorded)
    assert refusal.value.details["known_version"] == 2
    assert "not touched" in refusal.value.detail

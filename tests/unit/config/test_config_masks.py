"""What of a database's url may be shown."""

from __future__ import annotations

import pytest

from windlass.config.masks import mask_database


@pytest.mark.parametrize(
    ("database", "shown"),
    [
        ("sqlite", "sqlite"),
        ("memory", "memory"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql://h:5432/db", "postgresql://h:5432/db"),
        (
            "postgresql://h1:5432,h2:5433/db?target_session_attrs=any",
            "postgresql://h1:5432,h2:5433/db?target_session_attrs=any",
        ),
        ("postgresql://me@h/db", "postgresql://me@h/db"),
        ("postgresql://me:s3cret@h1:5432,h2/db", "postgresql://me:***@h1:5432,h2/db"),
        ("POSTGRES://me:s3cret@h/db", "POSTGRES://me:***@h/db"),
        ("postgres://me:s3/c?r@e#t@h/db", "postgres://me:***@h/db"),
        ("postgres://:s3cret@h/db", "postgres://:***@h/db"),
        (
            "postgres://h/db?user=me&password=s3cret&sslmode=require",
            "postgres://h/db?user=me&password=***&sslmode=require",
        ),
        ("postgres://me@h/db?sslpassword=s3cret", "postgres://me@h/db?sslpassword=***"),
    ],
)
def test_a_password_is_hidden_and_the_rest_is_not(database: str, shown: str) -> None:
    assert mask_database(database) == shown

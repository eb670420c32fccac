"""What of a setting is not shown. Changes no setting."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"
_PASSWORD: Final = re.compile(r"^([a-z]+://[^:@/?]*):.*@", re.IGNORECASE | re.DOTALL)
"""Between a url's user and its last `@`: a password with characters that should be escaped is hidden all the same."""
_PARAMETER: Final = re.compile(r"([?&](?:ssl)?password=)[^&]*", re.IGNORECASE)


def mask_database(database: str) -> str:
    """Give the setting `database` as it may be shown: without its password.

    >>> mask_database("postgresql://me:a@b/c@db1,db2/work?sslmode=verify-full")
    'postgresql://me:***@db1,db2/work?sslmode=verify-full'
    >>> mask_database("postgresql://me@db/work?password=x"), mask_database("sqlite")
    ('postgresql://me@db/work?password=***', 'sqlite')
    """
    return _PARAMETER.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", database))

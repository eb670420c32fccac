"""Contracts of other services, served on the one engine: each module here but `dialect` is one, found by being there.

They hold no state and do not know each other: deleting one file removes one dialect.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from windlass.http.dialects.dialect import Dialect

DIALECTS: Final[tuple[Dialect, ...]] = tuple(
    import_module(f"{__name__}.{module.name}").DIALECT for module in iter_modules(__path__) if module.name != "dialect"
)
"""All there are, by name."""

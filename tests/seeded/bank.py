"""The bank of seeded bugs: one line each, of a sort that others have had or that would break a promise.

Data alone. A bug that no test sees is a hole in the tests: write the test, then name it here.
"""

from __future__ import annotations

from bank_bug import Bug
from bank_core import CORE
from bank_edges import EDGES

BANK: tuple[Bug, ...] = (*CORE, *EDGES)

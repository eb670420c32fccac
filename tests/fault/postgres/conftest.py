"""The store's bench is what lives on PostgreSQL are lived on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "contract"))

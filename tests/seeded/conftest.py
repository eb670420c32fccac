"""The store's bench, in another folder, is what holes in other tests are filled with."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "contract"))

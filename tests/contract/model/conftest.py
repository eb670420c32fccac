"""The store's bench, one folder up, is what the model is held against."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

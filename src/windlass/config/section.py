"""What the sections of the settings are made of. Holds no setting."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from windlass.core.limits import TIMEOUT_MAX_S

DAY_S = 86_400

Seconds = Annotated[float, Meta(gt=0, le=DAY_S)]
Duration = Annotated[float, Meta(ge=0, le=TIMEOUT_MAX_S)]
Slots = Annotated[int, Meta(ge=1, le=10_000)]
Text = Annotated[str, Meta(min_length=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the tree."""

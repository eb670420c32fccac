"""How settings are loaded from the sources a test names, and what is said of those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from windlass.config.load import Loaded
from windlass.config.schema import Settings
from windlass.errors import ConfigError

Load = Callable[..., Settings]
LoadWithOrigins = Callable[..., Loaded]


def refusal(load: Load, *args: Any, **sources: Any) -> str:
    """Give the message with which the settings are refused."""
    with pytest.raises(ConfigError) as refused:
        load(*args, **sources)
    assert refused.value.code == "config_error"
    return refused.value.detail

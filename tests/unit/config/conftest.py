"""Settings from the sources a test names, and from no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from load_cases import Load, LoadWithOrigins

from windlass.config.load import Loaded, load_settings, load_with_origins


@pytest.fixture
def load_both(tmp_path: Path) -> LoadWithOrigins:
    """Give what loads settings together with their origins."""

    def loaded(
        flags: dict[str, Any] | None = None,
        *,
        environ: dict[str, str] | None = None,
        env: str | bytes | None = None,
        toml: str | bytes | None = None,
    ) -> Loaded:
        for name, text in ((".env", env), ("windlass.toml", toml)):
            if text is not None:
                (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        both = load_with_origins(flags or {}, environ=environ or {}, directory=tmp_path)
        assert both.settings == load_settings(flags or {}, environ=environ or {}, directory=tmp_path)
        return both

    return loaded


@pytest.fixture
def load(load_both: LoadWithOrigins) -> Load:
    """Give what loads settings."""
    return lambda *args, **sources: load_both(*args, **sources).settings

"""The app of the built-in kinds, and the names it keeps for itself."""

from __future__ import annotations

import pytest

from windlass.app.app import App
from windlass.core.kind import BUILTIN_APP, BUILTIN_KINDS
from windlass.errors import ConfigError
from windlass.handlers.app import app


def test_the_built_in_kinds_are_those_whose_names_are_reserved():
    assert app.name == BUILTIN_APP
    assert set(app.handlers) == BUILTIN_KINDS


@pytest.mark.parametrize("kind", sorted(BUILTIN_KINDS))
def test_no_other_app_may_take_the_name_of_a_built_in_kind(kind: str):
    with pytest.raises(ConfigError, match=f"'{kind}' is built in"):
        App().task(kind)(lambda: None)

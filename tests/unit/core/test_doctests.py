"""The examples in the docstrings of the pure rules say the truth."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import windlass.core

MODULES = [f"windlass.core.{module.name}" for module in pkgutil.iter_modules(windlass.core.__path__)]
WITH_EXAMPLES = {"windlass.core.backoff", "windlass.core.ids", "windlass.core.query", "windlass.wire.durations"}


@pytest.mark.parametrize("name", sorted({*MODULES, *WITH_EXAMPLES}))
def test_the_examples_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES

"""What `windlass.client` offers."""

from __future__ import annotations

import pytest

import windlass.client


def test_every_public_name_can_be_had() -> None:
    for name in windlass.client.__all__:
        assert getattr(windlass.client, name).__name__ == name


def test_another_name_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="Klient"):
        getattr(windlass.client, "Klient")  # noqa: B009

"""JSON in and out: strict, canonical, limited. The only place that imports a JSON library."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.errors import InputError

_canonical = msgspec.json.Encoder(order="sorted")


def encode_json(value: Any) -> bytes:
    """Spell plain data as canonical JSON: keys sorted, no spaces, UTF-8.

    Raises:
        InputError: `result_invalid`-like: it holds what JSON cannot (NaN, cycles, objects, keys that are no strings).
    """
    try:
        return _canonical.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"this cannot be kept as JSON: {error}", code="not_json") from None


def decode_json(raw: bytes) -> Any:
    """Read JSON that windlass itself has written."""
    return msgspec.json.decode(raw)

"""Digests as they are written: `sha256:<hex>` by callers, `Repr-Digest` by servers. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128, "blake2b": 128}
"""The algorithms, with the length of their digest in hex digits."""
DEFAULT = "sha256"
PATTERN = "^(?:" + "|".join(f"{name}:[0-9A-Fa-f]{{{length}}}" for name, length in LENGTHS.items()) + ")$"
"""The spelling of a digest, for the schema of the payload."""


def new_hash(algorithm: str) -> Any:
    """Start a digest; the weak ones are there to compare with what old sites publish, not to be relied on."""
    return hashlib.new(algorithm, usedforsecurity=False)


def algorithm_of(digest: str) -> str:
    """Give the algorithm of a digest.

    >>> algorithm_of("md5:d41d8cd98f00b204e9800998ecf8427e")
    'md5'
    """
    return digest.partition(":")[0]


def read_repr_digest(value: str | None) -> str | None:
    """Give the sha256 out of a `Repr-Digest` field; None when there is none.

    Source: RFC 9530 § 3; a dictionary whose values are byte sequences between colons.

    >>> read_repr_digest("sha-512=:AA==:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    >>> read_repr_digest("sha-256=:nonsense:") is None
    True
    """
    match = re.search(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):", value or "")
    if match is None:
        return None
    try:
        raw = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    return f"{DEFAULT}:{raw.hex()}" if len(raw) * 2 == LENGTHS[DEFAULT] else None

"""A kind: what a task runs, as its worker announced it. Never the code itself."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.limits import GRACE_S, MAX_ATTEMPTS, TIMEOUT_S
from windlass.core.state import Recovery


class Isolation(StrEnum):
    """Where attempts of a kind run: many in one worker's loop, or each alone in a worker of its own."""

    SHARED = "shared"
    SOLO = "solo"


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind with the schema of its payload and the defaults of its tasks. Durations in seconds.

    `app` is the app that announced it (`windlass` for built-in kinds), `version` that app's version;
    `schema` is a JSON Schema of the payload, as JSON text.
    """

    name: str
    app: str
    version: str
    schema: bytes
    isolation: Isolation
    summary: str = ""
    queue: str = "default"
    timeout_s: float | None = TIMEOUT_S
    grace_s: float = GRACE_S
    max_attempts: int = MAX_ATTEMPTS
    retry: RetryPolicy = DEFAULT_RETRY
    recovery: Recovery = Recovery.RETRY


BUILTIN_APP = "windlass"
"""The name of the app of the built-in kinds; its workers never hold user code."""

BUILTIN_KINDS = frozenset({"download", "http", "simulate"})
"""What no other app may call a kind."""

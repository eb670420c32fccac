"""Every figure with its unit. Holds no logic."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# What a client may send.
BODY_BYTES: Final = 1 * MIB
JSON_DEPTH: Final = 64
JSON_KEYS_PER_OBJECT: Final = 1_000
JSON_NODES: Final = 100_000
STRING_BYTES: Final = 256 * KIB
INTEGER_DIGITS: Final = 19
KEY_CHARS: Final = 256
NAME_CHARS: Final = 200
DESCRIPTION_CHARS: Final = 4_000
TAGS: Final = 32
TAG_CHARS: Final = 256
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500
PAGE_SCAN_ROWS: Final = 20_000
"""A page examines no more rows than this, so that a filter nobody matches cannot hold the store."""
ATTEMPTS_SHOWN: Final = 1_000
WAIT_MAX_S: Final = 60.0
PRIORITY_MAX: Final = 100
MAX_ATTEMPTS_MAX: Final = 1_000
DELAY_MAX_S: Final = 366 * 86_400.0
TIMEOUT_MAX_S: Final = 30 * 86_400.0

# What an attempt may send back.
RESULT_BYTES: Final = 1 * MIB
CHECKPOINT_BYTES: Final = 1 * MIB
LEFT_FILES: Final = 5_000
"""Files that a handler may leave in its directory as the task's."""
MESSAGE_BYTES: Final = 4 * KIB
TRACEBACK_BYTES: Final = 16 * KIB
FRAME_BYTES: Final = 16 * MIB
"""One frame between server and worker; more is a broken worker."""

# The turn.
TURN_WRITES: Final = 1_000
TURN_BYTES: Final = 4 * MIB
LINE_WRITES: Final = 20_000
"""Writes that may wait for their turn; then submits are refused with 503."""
PROMOTE_ROWS: Final = 1_000
"""Due tasks made ready by one claim; the rest follow in the next."""

# How an attempt may end.
LOST_MAX: Final = 3
INTERRUPTED_MAX: Final = 10
SNOOZE_MIN_S: Final = 1.0
"""A snooze uses no budget, so nothing but this keeps one of no time at all from spinning."""
RETRY_AFTER_MAX_S: Final = 3_600.0

# Defaults of a kind.
MAX_ATTEMPTS: Final = 5
TIMEOUT_S: Final = 900.0
GRACE_S: Final = 10.0
GRACE_MAX_S: Final = 3_600.0

# Liveness.
BEAT_S: Final = 5.0
LEASE_TTL_S: Final = 30.0
BLOCKED_SUSPECT_S: Final = 5.0
BLOCKED_KILL_S: Final = 30.0

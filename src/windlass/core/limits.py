"""Every figure with its unit. Holds no logic."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# What a client may send.
BODY_BYTES: Final = 1 * MIB
BATCH_TASKS: Final = 10_000
BATCH_BYTES: Final = 32 * MIB
JSON_DEPTH: Final = 64
JSON_KEYS_PER_OBJECT: Final = 1_000
JSON_NODES: Final = 100_000
STRING_BYTES: Final = 256 * KIB
INTEGER_DIGITS: Final = 19
PARAMETER_BYTES: Final = 1 * KIB
"""Of one parameter of a query; the longest key fits."""
KEY_CHARS: Final = 256
IDEMPOTENCY_KEY_CHARS: Final = 255
IDEMPOTENCY_KEPT_S: Final = 86_400.0
"""For so long a request with the same Idempotency-Key is answered as the first one was."""
NAME_CHARS: Final = 200
DESCRIPTION_CHARS: Final = 4_000
TAGS: Final = 32
TAG_CHARS: Final = 256
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500
PAGE_SCAN_ROWS: Final = 20_000
"""A page examines no more rows than this, so that a filter nobody matches cannot hold the store."""
BULK_TASKS: Final = 10_000
"""Tasks that one request may change; it then says where to go on."""
BULK_SLICE: Final = 200
"""Of these as many wait for their turn at once: other writers get their share of it."""
BULK_S: Final = 10.0
"""Where few of very many tasks match, a request ends after so long and says where to go on."""
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
"""Writes that may wait for their turn, each task of a batch counted; then submits are refused with 503."""
LINE_BYTES: Final = 128 * MIB
"""Payloads that may wait for their turn; then submits are refused with 503."""
PROMOTE_ROWS: Final = 1_000
"""Due tasks made ready by one claim; the rest follow in the next."""
REMOVE_ROWS: Final = 1_000
"""Tasks removed by one set of statements; more go in slices of as many."""

# How an attempt may end.
LOST_MAX: Final = 3
INTERRUPTED_MAX: Final = 10
SNOOZE_MIN_S: Final = 1.0
"""A snooze uses no budget, so nothing but this keeps one of no time at all from spinning."""
RETRY_AFTER_MAX_S: Final = 3_600.0

# Queues.
QUEUE_MAX: Final = 10_000_000
"""The largest limit of a queue that can be set."""
QUEUE_FULL_MAX_S: Final = 60.0
"""Who finds a queue full is told to come again after so long at most: it may drain faster than it did."""

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

# Who may come in, and how many.
CONNECTIONS: Final = 1_000
CONNECTIONS_PER_ADDRESS: Final = 100
FILES_BESIDES: Final = 512
"""Files a server may have open besides its connections: store, workers, downloads, files on their way out."""
ACCESS_ID_DIGITS: Final = 16
"""Of a key's public part, in hex digits."""
ACCESS_SECRET_DIGITS: Final = 64
"""Of a key's secret, in hex digits: 256 random bits."""
ACCESS_USED_S: Final = 60.0
"""When a key was used is written down no more often than this."""
AUTH_FAILURES: Final = 20
"""Wrong keys at once from one address; then 429."""
AUTH_FAILURES_PER_S: Final = 0.2
AUTH_ADDRESSES: Final = 4_096
"""Addresses whose wrong keys are counted; of more, those that failed last."""

# A full disk.
RESERVE_BYTES: Final = 32 * MIB
"""Room kept back for attempts that end; the largest result and its log take about 2 MiB."""
RESERVE_SHARE: Final = 0.05
"""The reserve takes no more than this part of the disk."""
RESERVE_PROBE_S: Final = 2.0
"""Without a reserve, look for room no more often than this."""

# A damaged disk.
CHECK_AT_START_BYTES: Final = 64 * MIB
"""A database up to this size is checked before it is opened; source: about a fifth of a second, measured."""

# What is kept of what has ended.
TIDY_EVERY_S: Final = 60.0
PRUNE_SLICE_S: Final = 0.05
"""A write of the janitor takes no longer than this, or the next one does less."""
PRUNE_ROWS: Final = 1_000
"""Tasks one write of the janitor may remove, however quick it is: claims of the same turn wait for it."""
TOMBSTONE_KEEP_S: Final = 30 * 86_400.0
ORPHAN_KEEP_S: Final = 7 * 86_400.0
"""A directory of files that no task knows is left alone for so long: after a restore, somebody may still want it."""

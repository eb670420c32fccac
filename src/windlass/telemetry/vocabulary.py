"""The names of log lines; the fields of each are where it is written. Holds nothing else.

A state change of a task is logged as `task.<event>`, with the names of `core.state.EventName`.
"""

from __future__ import annotations

from typing import Final

TASK_PREFIX: Final = "task."

SERVER_LISTENING: Final = "server.listening"
SERVER_DRAINING: Final = "server.draining"
SERVER_HURRYING: Final = "server.hurrying"
SERVER_STOPPED: Final = "server.stopped"
SERVER_FAILED: Final = "server.failed"
RECOVERED: Final = "server.recovered"
BEAT_FAILED: Final = "server.beat_failed"
SERVER_WORKING: Final = "server.working"
SERVER_EXPIRED: Final = "server.expired"
SERVER_ENROLLED: Final = "server.enrolled"
LEASE_FENCED: Final = "lease.fenced"
LEASE_RENEWED: Final = "lease.renewed"
LEASE_LOST: Final = "lease.lost"
LEASE_KEPT: Final = "lease.not_given_up"
REAPING_DELAYED: Final = "reaper.delayed"
FOLLOWING_DELAYED: Final = "follower.delayed"
LOOP_FAILED: Final = "loop.failed"
LOG_DROPPED: Final = "log.dropped"
KINDS_ANNOUNCED: Final = "kinds.announced"
KIND_UNUSABLE: Final = "kinds.unusable"
REQUEST_FAILED: Final = "request.failed"
REMAINS_KEPT: Final = "files.not_removed"

STORE_AWAITED: Final = "store.awaited"
STORE_LOST: Final = "store.connection_lost"
STORE_REGAINED: Final = "store.connection_regained"
STORE_WARNED: Final = "store.warned"
STORE_UPKEEP_FAILED: Final = "store.upkeep_failed"
STORE_PINNED: Final = "store.pinned"

ACCESS_NO_KEYS: Final = "access.no_keys"
ACCESS_OFF: Final = "access.off"
ACCESS_GUESSED: Final = "access.guessed"
KEY_CREATED: Final = "key.created"
KEY_REVOKED: Final = "key.revoked"
KEY_USE_UNSAVED: Final = "key.use_unsaved"
CONNECTIONS_FULL: Final = "connections.full"
FILES_SCARCE: Final = "files.scarce"

QUEUE_SET: Final = "queue.set"

TIDIED: Final = "janitor.tidied"
ORPHANS_FOUND: Final = "files.orphans_found"
TIDYING_DELAYED: Final = "janitor.delayed"

WORKER_SPAWNED: Final = "worker.spawned"
WORKER_READY: Final = "worker.ready"
WORKER_UNFIT: Final = "worker.unfit"
WORKER_BLOCKED: Final = "worker.blocked"
WORKER_RETIRED: Final = "worker.retired"
WORKER_STUCK: Final = "worker.stuck"
WORKER_KILLED: Final = "worker.killed"

ATTEMPT_STOPPING: Final = "attempt.stopping"
STALE_WRITE: Final = "attempt.stale_write"
SETTLE_DELAYED: Final = "attempt.settle_delayed"

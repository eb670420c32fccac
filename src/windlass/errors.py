"""Every exception windlass raises, each with a stable code.

Imports nothing of ours. HTTP statuses live in `wire.problems`, exit codes in `cli.output`.
A task's own failure is an outcome (`core.outcome`), never an exception of the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WindlassError(Exception):
    """Something windlass refuses or cannot do.

    `code` never changes once released; `detail` is written for the person who reads it at 3 a.m.;
    `details` holds further fields for machines.
    """

    code = "error"
    retryable = False

    def __init__(self, detail: str, /, *, code: str | None = None, **details: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.details: Mapping[str, Any] = details
        if code is not None:
            self.code = code


class ConfigError(WindlassError):
    """A setting that cannot be used; names the setting and where it came from."""

    code = "config_error"


class InputError(WindlassError):
    """Input that breaks a rule.

    `errors` lists every broken rule as (JSON Pointer, code, detail); the error's own code is the first one's.
    """

    code = "invalid_input"

    def __init__(self, detail: str, /, *, code: str = "invalid_input", pointer: str = "", **details: Any) -> None:
        super().__init__(detail, code=code, **details)
        self.errors: tuple[tuple[str, str, str], ...] = ((pointer, code, detail),)

    @classmethod
    def of(cls, errors: tuple[tuple[str, str, str], ...]) -> InputError:
        """Build one error out of several broken rules; `errors` must not be empty."""
        pointer, code, detail = errors[0]
        error = cls(detail if len(errors) == 1 else f"{len(errors)} fields are wrong", code=code, pointer=pointer)
        error.errors = errors
        return error


class NotFoundError(WindlassError):
    """No such thing; for a task, unknown or of another owner."""

    code = "not_found"


class ConflictError(WindlassError):
    """The thing is there, but its present state does not allow this."""

    code = "conflict"


class IllegalTransition(ConflictError):
    """The state table has no such move."""

    code = "illegal_transition"


class KeyConflict(ConflictError):
    """The key is taken by a task with other content."""

    code = "key_conflict"


class IdempotencyMismatch(ConflictError):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_mismatch"


class LeaseLost(ConflictError):
    """The attempt no longer holds its task: its token is not the current one."""

    code = "lease_lost"


class SaturatedError(WindlassError):
    """Too much is waiting; `details["retry_after_s"]` says when to come again."""

    code = "saturated"
    retryable = True


class NotReadyError(WindlassError):
    """The server is starting or stopping; `details["retry_after_s"]` says when to come again."""

    code = "starting"
    retryable = True


class StoreError(WindlassError):
    """The store could not do it. Nothing was acknowledged."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The store cannot be written or read now."""

    code = "store_unavailable"
    retryable = True


class StoreUncertain(StoreError):
    """The store's answer to a commit was lost, and could not be asked for again: it happened wholly or not at all."""

    code = "store_uncertain"
    retryable = True


class StoreFull(StoreError):
    """No space is left for the store."""

    code = "storage_full"
    retryable = True


class StoreCorrupt(StoreError):
    """The store's file is damaged, or reading or writing it failed. Fatal: the server stops."""

    code = "store_corrupt"


class SchemaMismatch(StoreError):
    """The store was written by another version of windlass. It was not touched."""

    code = "schema_mismatch"


class WorkerError(WindlassError):
    """A worker process could not be started or did not keep to the protocol."""

    code = "worker_error"
    retryable = True

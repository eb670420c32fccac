"""What can go wrong with a transfer, sorted by what may be done about it.

Holds no policy: how often to try again is the caller's business.
"""

from __future__ import annotations

from enum import StrEnum

from windlass.errors import WindlassError


class FailureClass(StrEnum):
    """What a failure allows."""

    TRANSIENT = "transient"
    """Try again later, from where it stopped."""
    UNREACHABLE = "unreachable"
    """Refused, or no such name: a few quick tries, then it is permanent."""
    PERMANENT = "permanent"
    """The answer will not change."""
    INTEGRITY = "integrity"
    """The bytes are not what was promised: try once more from the start."""
    DISK = "disk"
    """Ours, not the server's: another try would meet the same disk."""


class TransferFailed(WindlassError):
    """A transfer that did not come to its end; `detail` names the host and what it did, never a url or a header."""

    code = "transfer_failed"

    def __init__(self, detail: str, /, *, code: str, kind: FailureClass, retry_after_s: float | None = None) -> None:
        super().__init__(detail, code=code)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.retryable = kind in (FailureClass.TRANSIENT, FailureClass.UNREACHABLE)


class TransferStopped(WindlassError):
    """The caller asked the transfer to stop; what had arrived is with the receiver."""

    code = "stopped"
    retryable = True


def class_of(error: WindlassError) -> FailureClass:
    """Say what `error` allows; whatever is no failure of a transfer (a url or address refused) is permanent."""
    return error.kind if isinstance(error, TransferFailed) else FailureClass.PERMANENT

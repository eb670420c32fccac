"""What a handler raises to say more than "it failed". Raised by user code, read by the worker."""

from __future__ import annotations


class Retry(Exception):
    """Fail this attempt and try again; `after`, in seconds, is the least delay.

    Uses budget like any failure: after the last attempt the task has failed.
    """

    after: float | None = None

    def __init__(self, message: str = "the handler asked for another try", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = None if after is None else float(after)


class Fail(Exception):
    """Fail the task for good: another try would not help."""

    code: str | None = None

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Snooze(Exception):
    """End this attempt without using budget, and be called again after `delay` seconds."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay:g} s")
        self.delay = float(delay)

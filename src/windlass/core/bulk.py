"""What can be done to many tasks at once, and in which states of theirs. Changes nothing."""

from __future__ import annotations

from enum import StrEnum

from windlass.core.state import State


class BulkAction(StrEnum):
    """What can be done to many tasks at once."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"

    @property
    def states(self) -> tuple[State, ...]:
        """In which states of a task it can apply."""
        if self is BulkAction.CANCEL:
            return (State.QUEUED, State.RUNNING)
        return (State.SUCCEEDED, State.FAILED, State.CANCELLED)

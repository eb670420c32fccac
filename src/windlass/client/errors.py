"""What can go wrong between a client and a server, besides what the server itself refuses.

Refusals of the server arrive as the classes of `windlass.errors`. Nothing here does I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from windlass.errors import WindlassError

if TYPE_CHECKING:
    from windlass.wire.v1 import TaskView


class ServerUnreachable(WindlassError):
    """No server answered. `details["was_sent"]` says whether it may have got the request all the same."""

    code = "server_unreachable"
    retryable = True


class UnexpectedAnswer(WindlassError):
    """Something answered, but not as a windlass server of this version does."""

    code = "unexpected_answer"


class ServerError(WindlassError):
    """The server failed; its log has more under `details["request_id"]`."""

    code = "internal"


class AccessDenied(WindlassError):
    """The server wants a key, or another one."""

    code = "unauthenticated"


class _AboutTask(WindlassError):
    """An error that carries the task it is about."""

    def __init__(self, detail: str, /, *, task: TaskView) -> None:
        super().__init__(detail, task=task)
        self.task = task
        """The task as it was last seen."""


class WaitTimeout(_AboutTask):
    """The task has not ended in the time the caller would wait. It goes on."""

    code = "wait_timeout"


class TaskFailed(_AboutTask):
    """The task whose result was asked for has failed; `task.error` says why."""

    code = "task_failed"


class TaskCancelled(_AboutTask):
    """The task whose result was asked for was cancelled."""

    code = "task_cancelled"

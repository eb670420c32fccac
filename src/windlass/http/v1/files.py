"""The files of a task over HTTP: which there are, and their bytes. A name is looked up, never joined to a path."""

from __future__ import annotations

from windlass.errors import NotFoundError
from windlass.http.call import Call
from windlass.http.ranges import FileAnswer
from windlass.http.reply import Reply, json_reply
from windlass.wire.codec import echo
from windlass.wire.v1 import FileList


async def page(call: Call) -> Reply:
    """List the files of a task."""
    task = await call.engine.get(call.task_ref())
    return json_reply(200, FileList(files=list(await call.engine.files(task))))


async def show(call: Call) -> FileAnswer:
    """Give the bytes of a completed file.

    Raises:
        NotFoundError: the task has no such file, or not yet.
    """
    task = await call.engine.get(call.task_ref())
    name = call.parameter("name")
    for file in await call.engine.files(task):
        if file.name == name and file.state == "completed":
            return FileAnswer(call, call.engine.file_path(task, file), name=name)
    raise NotFoundError(f"the task has no completed file {echo(name)}: GET /v1/tasks/{task.id}/files lists what it has")

"""`windlass get`: have files downloaded by the server, watch them, and fetch them if wanted.

Downloads nothing from the urls itself: that is the server's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
from cyclopts import Parameter

from windlass.cli.bars import ShowFiles, file_bars
from windlass.cli.human import printable
from windlass.cli.options import COMMON, Common
from windlass.cli.output import ExitCode, exit_code_of_tasks, interruptible, note, write, write_json
from windlass.client.sync import Client
from windlass.core.state import State
from windlass.core.task import FileRow
from windlass.errors import InputError
from windlass.wire.v1 import SubmitRequest, TaskView

_KIND = "download"


class _Placed(msgspec.Struct, frozen=True):
    """What the result of a download says of one file, as far as it matters here."""

    name: str
    path: str | None = None


class _Result(msgspec.Struct, frozen=True):
    """The result of a download, likewise."""

    files: list[_Placed]


def get(
    *urls: Annotated[str, Parameter(required=True, help="What to download, http or https.")],
    name: Annotated[str | None, Parameter(help="Name of the file; with one url.")] = None,
    digest: Annotated[str | None, Parameter(help="What it must hash to, as sha256:HEX; with one url.")] = None,
    to: Annotated[Path | None, Parameter(help="Fetch the files from the server into this directory.")] = None,
    detach: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print the task's id and do not wait.")
    ] = False,
    common: Common = COMMON,
) -> int:
    """Have files downloaded, and print where they are."""
    request = SubmitRequest(kind=_KIND, payload={"files": _files(urls, name=name, digest=digest)})
    if detach and to is not None:
        raise InputError(
            "--detach does not wait, so there is nothing yet to fetch: leave out --to or --detach", code="detached"
        )
    if to is not None:
        _make_directory(to)
    with common.client() as client:
        handle = client.submit_task(request)
        if detach:
            write_json(handle.task) if common.json else write(handle.id)
            return ExitCode.OK
        with interruptible(handle.task.number), file_bars() as show_bars:
            task = _watch(client, handle.id, show_bars)
        files = client.files(handle.id)
        paths = _paths_on_server(task)
        if to is not None:
            paths |= {
                file.name: str(client.fetch_file(handle.id, file.name, _free_path(to, file.name)))
                for file in files
                if _is_there(file)
            }
    if common.json:
        rows = [{**msgspec.structs.asdict(file), "path": paths.get(file.name)} for file in files]
        write_json({"task": task, "files": rows})
    else:
        _print_files(task, files, paths)
    code = exit_code_of_tasks([task])
    return ExitCode.TASK_FAILED if code is ExitCode.OK and not all(_is_there(file) for file in files) else code


def _make_directory(to: Path) -> None:
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--to names a directory, and {to} cannot be one: {error.strerror}", code="bad_directory"
        ) from None


def _free_path(directory: Path, name: str) -> Path:
    """Name a file in `directory` that is not there yet: what somebody has is never replaced."""
    wanted = directory / PurePosixPath(name).name
    path, count = wanted, 0
    while path.exists() or path.is_symlink():
        count += 1
        path = wanted.with_name(f"{wanted.stem} ({count}){wanted.suffix}")
    return path


def _files(urls: Sequence[str], *, name: str | None, digest: str | None) -> list[dict[str, str]]:
    if len(urls) > 1 and (name or digest):
        raise InputError("--name and --digest go with a single url; submit the others apart", code="one_url")
    given = {"name": name, "digest": digest}
    return [{"url": url, **{field: value for field, value in given.items() if value}} for url in urls]


def _watch(client: Client, task_id: str, show_bars: ShowFiles | None) -> TaskView:
    for task in client.watch(task_id):
        if show_bars is not None:
            show_bars(client.files(task_id))
        if task.state.has_ended:
            return task
    raise AssertionError("a watch ends with the task's end")


def _is_there(file: FileRow) -> bool:
    return file.state == "completed"


def _paths_on_server(task: TaskView) -> dict[str, str]:
    """Read from the task's result where each file lies, by name; known only once the task has succeeded."""
    try:
        placed = msgspec.convert(task.result, _Result).files
    except msgspec.ValidationError:
        return {}
    return {file.name: file.path for file in placed if file.path is not None}


def _print_files(task: TaskView, files: Sequence[FileRow], paths: Mapping[str, str]) -> None:
    for file in files:
        if _is_there(file):
            write(printable(paths.get(file.name, file.name)))
        else:
            note(f"windlass: {printable(file.url or file.name)}: {printable(file.error or file.state)}")
    if task.state is not State.SUCCEEDED and task.error is not None:
        note(f"windlass: task {task.number} {task.state}: {printable(task.error.message)}")

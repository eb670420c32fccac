"""The commands that change tasks which are there: cancel, retry, hold, release, edit, delete.

Each asks one server through the client and prints; errors pass through to `main`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from msgspec import UNSET, UnsetType

from windlass.cli.filters import EVERYTHING, Which
from windlass.cli.options import COMMON, Common, parse_pairs, parse_seconds
from windlass.cli.output import ExitCode, report, write, write_json
from windlass.cli.tables import state_of
from windlass.cli.tasks import TaskArguments
from windlass.client.errors import AccessDenied, ServerUnreachable, WaitTimeout
from windlass.client.sync import Client
from windlass.core.bulk import BulkAction
from windlass.core.limits import DELAY_MAX_S, GRACE_MAX_S
from windlass.errors import InputError, WindlassError
from windlass.wire.v1 import EditRequest, TaskView
from windlass.wire.v1_many import BulkRequest, TaskFilter

SomeTasks = Annotated[str, Parameter(help="Numbers or ids of tasks; or say which with the options below.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Many:
    """Whether a command is about all tasks that match, instead of those it names."""

    all_: Annotated[
        bool, Parameter(name="--all", negative="", show_default=False, help="All tasks there are, without a filter.")
    ] = False
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Only count the tasks that match, and change nothing.")
    ] = False


def cancel(
    *tasks: SomeTasks,
    reason: Annotated[str | None, Parameter(help="Why, for those who look later.")] = None,
    grace: Annotated[str | None, Parameter(help="What a running handler gets to clean up, for example 30s.")] = None,
    which: Which = EVERYTHING,
    many: Many = Many(),
    common: Common = COMMON,
) -> int:
    """Cancel tasks; those that run are stopped."""
    grace_s = None if grace is None else parse_seconds(grace, "--grace", max_s=GRACE_MAX_S)
    if _is_bulk(tasks, which, many):
        request = BulkRequest(action=BulkAction.CANCEL, reason=reason, grace_s=grace_s)
        return _bulk(request, which, many, common=common)
    return _each(tasks, lambda client, ref: client.cancel(ref, reason=reason, grace_s=grace_s), common=common)


def retry(*tasks: SomeTasks, which: Which = EVERYTHING, many: Many = Many(), common: Common = COMMON) -> int:
    """Queue ended tasks again."""
    if _is_bulk(tasks, which, many):
        return _bulk(BulkRequest(action=BulkAction.RETRY), which, many, common=common)
    return _each(tasks, lambda client, ref: client.retry(ref), common=common)


def delete(*tasks: SomeTasks, which: Which = EVERYTHING, many: Many = Many(), common: Common = COMMON) -> int:
    """Remove ended tasks and their files."""
    if _is_bulk(tasks, which, many):
        return _bulk(BulkRequest(action=BulkAction.DELETE), which, many, common=common)
    return _each(tasks, lambda client, ref: client.delete(ref), common=common)


def hold(*tasks: TaskArguments, common: Common = COMMON) -> int:
    """Keep queued tasks from starting."""
    return _each(tasks, lambda client, ref: client.hold(ref), common=common)


def release(*tasks: TaskArguments, common: Common = COMMON) -> int:
    """Let held tasks start."""
    return _each(tasks, lambda client, ref: client.release(ref), common=common)


@Parameter(name="*")
@dataclass(frozen=True)
class EditOptions:
    """What is to be changed; what is left out stays as it is."""

    name: Annotated[str | None, Parameter(help='A title for people; "" takes it away.')] = None
    description: Annotated[str | None, Parameter(help='More for people; "" takes it away.')] = None
    tag: Annotated[
        list[str] | None,
        Parameter(negative="", metavar="NAME=VALUE", help="A tag; may be repeated, and replaces all there were."),
    ] = None
    priority: Annotated[int | None, Parameter(help="From -100 to 100, higher first; while it is queued.")] = None
    delay: Annotated[str | None, Parameter(help="Not before this time has passed, 0 at once; while queued.")] = None
    queue: Annotated[str | None, Parameter(help="The queue it waits in; while it is queued.")] = None

    def request(self) -> EditRequest:
        """Make the request out of these options."""
        if self == EditOptions():
            raise InputError("say what to change: `windlass edit --help` lists what can be", code="nothing_to_do")
        return EditRequest(
            name=_text(self.name),
            description=_text(self.description),
            tags=UNSET if self.tag is None else parse_pairs(self.tag, "--tag"),
            priority=UNSET if self.priority is None else self.priority,
            delay=UNSET if self.delay is None else parse_seconds(self.delay, "--delay", max_s=DELAY_MAX_S),
            queue=UNSET if self.queue is None else self.queue,
        )


def edit(*tasks: TaskArguments, options: EditOptions = EditOptions(), common: Common = COMMON) -> int:
    """Change labels of tasks at any time; their priority, time or queue while they are queued."""
    request = options.request()
    return _each(tasks, lambda client, ref: client.edit(ref, request), common=common)


def _is_bulk(tasks: Sequence[str], which: Which, many: Many) -> bool:
    """Whether a command is about all tasks that match.

    Raises:
        InputError: it is about none, or about both.
    """
    if tasks:
        if many != Many() or not which.is_everything:
            raise InputError("name tasks, or say which with options, not both", code="two_ways")
        return False
    if which.is_everything and not many.all_:
        raise InputError("name tasks, or say which: by --state, --kind ..., or all with --all", code="nothing_to_do")
    return True


def _bulk(request: BulkRequest, which: Which, many: Many, *, common: Common) -> ExitCode:
    filter_ = TaskFilter() if which.is_everything else which.record()
    whole = BulkRequest(
        action=request.action,
        filter=filter_,
        all=many.all_,
        dry_run=many.dry_run,
        reason=request.reason,
        grace_s=request.grace_s,
    )
    with common.client() as client:
        done = client.bulk(whole)
    if common.json:
        write_json(done)
    elif done.dry_run:
        write(f"{done.matched} tasks match")
    else:
        write(f"{done.matched} matched: {done.changed} changed, {done.unchanged} unchanged, {done.refused} refused")
    return ExitCode.ERROR if done.refused else ExitCode.OK


def _text(text: str | None) -> str | UnsetType | None:
    return UNSET if text is None else text or None


def _each(refs: Sequence[str], act: Callable[[Client, str], TaskView | None], *, common: Common) -> ExitCode:
    """Do `act` to every task; what one of them refuses is said, and the others still get their turn."""
    codes: list[ExitCode] = []
    with common.client() as client:
        for ref in refs:
            try:
                task = act(client, ref)
            except (ServerUnreachable, AccessDenied, WaitTimeout):
                raise
            except WindlassError as error:
                codes.append(report(error))
            else:
                _say(ref, task, common)
    return next((code for code in codes if code is not ExitCode.OK), ExitCode.OK)


def _say(ref: str, task: TaskView | None, common: Common) -> None:
    """Write what a task has become; None: it is gone."""
    if task is None:
        write_json({"task": ref, "deleted": True}) if common.json else write(f"{ref}\tdeleted")
    else:
        write_json(task) if common.json else write(f"{task.number}\t{state_of(task)}")

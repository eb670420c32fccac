"""Which tasks a command is about: the options that filter, and what they ask of the client. Asks nothing itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

from cyclopts import Group, Parameter

from windlass.cli.options import parse_instant, parse_pairs
from windlass.client.exchange import spell_filters
from windlass.client.reads import Filters
from windlass.core.state import State
from windlass.wire.v1_many import TaskFilter

_WHICH = Group("Which tasks", sort_key=5)
_TIME = "TIME|AGO"


@Parameter(name="*", group=_WHICH)
@dataclass(frozen=True)
class Which:
    """Tasks that match all that is given. A time is an instant, or how long ago: 2026-11-20T15:00:00Z or 2h."""

    state: Annotated[State | None, Parameter(help="Where they stand.")] = None
    kind: Annotated[str | None, Parameter(help="What they run.")] = None
    queue: Annotated[str | None, Parameter(help="The queue they are in.")] = None
    key: Annotated[str | None, Parameter(help="The key they were submitted with.")] = None
    tag: Annotated[str | None, Parameter(metavar="NAME=VALUE", help="A tag they have.")] = None
    waiting: Annotated[
        Literal["until", "retry", "dependencies", "hold"] | None, Parameter(help="What they wait for.")
    ] = None
    created_after: Annotated[str | None, Parameter(metavar=_TIME, help="Submitted after that, for example 2h.")] = None
    created_before: Annotated[str | None, Parameter(metavar=_TIME, help="Submitted before that.")] = None
    finished_after: Annotated[str | None, Parameter(metavar=_TIME, help="Ended after that.")] = None
    finished_before: Annotated[str | None, Parameter(metavar=_TIME, help="Ended before that.")] = None
    search: Annotated[str | None, Parameter(help="Their id, number or key, or how their name begins.")] = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is filtered."""
        return self == EVERYTHING

    def filters(self) -> Filters:
        """Give them as the client takes them.

        Raises:
            InputError: a tag or time of another form.
        """
        now = datetime.now(UTC)
        given = {name: value for name, value in asdict(self).items() if value is not None}
        for name in ("created_after", "created_before", "finished_after", "finished_before"):
            if name in given:
                given[name] = parse_instant(given[name], f"--{name.replace('_', '-')}", now=now)
        if self.tag is not None:
            given["tag"] = next(iter(parse_pairs([self.tag], "--tag").items()))
        if "search" in given:
            given["q"] = given.pop("search")
        return cast("Filters", given)

    def record(self) -> TaskFilter:
        """Give them as one record."""
        given = dict(self.filters())
        tag = {"tag": spell_filters({"tag": given["tag"]})["tag"]} if "tag" in given else {}
        return TaskFilter(**{**given, **tag})  # pyright: ignore[reportArgumentType]


EVERYTHING = Which()
"""No filter at all."""

"""Tokens for the model and the stores it is held against: they count up, so that a turn undone can give them back.

Unguessable they are not: what must be told apart here are the tokens of one run.
"""

from __future__ import annotations

from store_ids import SeededIds

from windlass.core.ids import Token
from windlass.core.task import Task


class CountedIds(SeededIds):
    """`contracts.clock.Ids` whose tokens count up; `given` may be set back to where a turn began."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def token(self) -> Token:
        self.given += 1
        return Token(f"{self.given:032x}")


def token_of(task: Task) -> Token:
    """Give the token of a task that runs."""
    assert task.token is not None
    return task.token

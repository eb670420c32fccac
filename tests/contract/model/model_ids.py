"""Names for the model and the stores it is held against: tokens in a row, so that a turn undone takes none."""

from __future__ import annotations

from store_ids import SeededIds

from windlass.core.ids import Token


class CountedIds(SeededIds):
    """`contracts.clock.Ids` whose tokens count up; `given` may be set back to where a turn began."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def token(self) -> Token:
        self.given += 1
        return Token(f"{self.given:032x}")

"""Whether the one server that owns a store has claimed anything yet under its lease. Two ports of a store share it."""

from __future__ import annotations


class Tenure:
    """The lease of a store's only server, as far as its store must know: until the first claim, all that runs is left
    by an earlier one.
    """

    def __init__(self) -> None:
        self.has_claimed = False

    def begin(self) -> None:
        """Begin anew: another server has enrolled."""
        self.has_claimed = False

    def take(self, claimed: int) -> None:
        """Take in how many tasks a turn has claimed."""
        self.has_claimed = self.has_claimed or claimed > 0

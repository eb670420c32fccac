"""What of apsw the store uses, with the types its own stubs leave open. Holds no code that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
"""A row as the driver gives it, or values as it takes them."""


WalHook = Callable[["Connection", str, int], int]
"""What runs after a commit to a log."""


class Cursor(Protocol):
    """The rows of a statement, stepped as they are asked for."""

    def __iter__(self) -> Iterator[Row]: ...

    def __next__(self) -> Row: ...

    def fetchone(self) -> Row | None:
        """Step once."""
        ...

    def fetchall(self) -> list[Row]:
        """Step to the end."""
        ...

    def close(self) -> None:
        """Step no more."""
        ...


class Connection(Protocol):
    """A connection of apsw."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: Row | None = None, /) -> Cursor:
        """Run a statement up to its first row."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Iterable[Row], /) -> Cursor:
        """Run a statement once for each set of values, up to its first row."""
        ...

    def changes(self) -> int:
        """Count the rows that the last statement changed."""
        ...

    def total_changes(self) -> int:
        """Count the rows that all statements have changed."""
        ...

    def pragma(self, name: str, value: int | str | None = None) -> Any:
        """Run a pragma, and give what it answers."""
        ...

    def config(self, op: int, *args: int) -> int:
        """Configure the connection, and give what is in effect."""
        ...

    def set_busy_timeout(self, milliseconds: int, /) -> None:
        """Say how long to wait for locks of others."""
        ...

    def wal_autocheckpoint(self, n: int, /) -> None:
        """Say after how many pages a commit checkpoints; 0: never."""
        ...

    def set_wal_hook(self, callable: WalHook | None, /) -> None:  # noqa: A002 the driver's name
        """Have a function called after each commit, with the pages of the log; what it raises, the commit raises."""
        ...

    def wal_checkpoint(self, *, mode: int) -> Sequence[int]:
        """Move the log into the file."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

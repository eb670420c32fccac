"""What of asyncpg the store uses, with the types its own stubs leave open. Holds no code that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

Values = Sequence[Any]
"""Values as the driver takes them for one run of a statement."""

Hear = Callable[[Any, int, str, str], None]
"""What is told of a notification: the connection, the other's process, the channel, the payload."""


class Record(Protocol):
    """A row as the driver gives it: by place, by name, or unpacked."""

    def __getitem__(self, key: int | str, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


class Connection(Protocol):
    """A connection of asyncpg; one statement at a time."""

    async def execute(self, query: str, /, *args: Any, timeout: float | None = None) -> str:
        """Run a statement, or without values several; give the command's tag, such as `UPDATE 3`.

        `timeout`: seconds to wait for the answer, where it is not what the connection was opened with.
        """
        ...

    async def executemany(self, command: str, args: Iterable[Values], /) -> None:
        """Run a statement once for each set of values, in one round trip."""
        ...

    async def fetch(self, query: str, /, *args: Any) -> list[Record]:
        """Run a statement, and give its rows."""
        ...

    async def fetchrow(self, query: str, /, *args: Any) -> Record | None:
        """Run a statement, and give its first row."""
        ...

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """Run a statement, and give the first value of its first row; None when there is no row."""
        ...


class Notice(Protocol):
    """What the server says besides its answers."""

    severity_en: str | None
    message: str | None


class Session(Connection, Protocol):
    """A connection to its owner, who also opens and closes it and listens on it."""

    async def add_listener(self, channel: str, callback: Hear, /) -> None:
        """Listen on a channel."""
        ...

    def add_log_listener(self, callback: Callable[[Any, Notice], None], /) -> None:
        """Have a function told of notices, before the answer that they came with."""
        ...

    def add_termination_listener(self, callback: Callable[[Any], None], /) -> None:
        """Have a function called when the connection has ended, by whomever."""
        ...

    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, be it a failed one."""
        ...

    async def close(self, *, timeout: float | None = None) -> None:
        """Say goodbye, and let go."""
        ...

    def terminate(self) -> None:
        """Let go at once."""
        ...

"""Access as HTTP sees it: who may come in, and the keys that say so. Knows no routes and no headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from windlass.contracts.keys import AccessKey
from windlass.core.access import AccessScope, KeyText


class Caller(msgspec.Struct, frozen=True):
    """What a request says of who sends it.

    `key` is what stands behind `Bearer`; empty where the request authenticates in another way, None where it says
    nothing. `is_local`: sent by a program on this machine, for itself.
    """

    address: str
    is_local: bool
    key: str | None = None


class NewKey(NamedTuple):
    """A key just made, and its text, which nobody can read again. `is_first`: from now on everybody needs one."""

    key: AccessKey
    text: KeyText
    is_first: bool


class Access(Protocol):
    """Who may come in. All decisions are made here, from what a route says it needs.

    Concurrency: of one event loop. Changes are durable when they return.
    """

    def admit(self, caller: Caller, needed: AccessScope) -> str:
        """Let a caller in, and say who it is: the id of its key, `loopback` or `anonymous`.

        Raises:
            WindlassError: `unauthenticated`, the same for whatever is wrong with a key; `forbidden`, naming the
                scope; `too_many_failures` for an address that keeps guessing.
        """
        ...

    def list_keys(self) -> Sequence[AccessKey]:
        """Give all keys, revoked ones too, by the time they were made."""
        ...

    async def create_key(self, name: str, scopes: Sequence[AccessScope]) -> NewKey:
        """Make a key.

        Raises:
            InputError: a name that is no line of text, no scope, or a first key that could not make another.
        """
        ...

    async def revoke_key(self, id: str) -> AccessKey:  # noqa: A002
        """Take a key out of use, at once. Idempotent.

        Raises:
            NotFoundError: there is none such.
            ConflictError: it is the last one that can make others.
        """
        ...

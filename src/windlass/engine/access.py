"""The keys of a server: implements `contracts.access`. Every decision who may come in is made here.

Reads no header and knows no route. Holds digests alone: a secret is given out once, when it is made.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NoReturn

import msgspec

from windlass.contracts.access import Caller, NewKey
from windlass.contracts.clock import Clock
from windlass.contracts.keys import AccessKey, Keys
from windlass.core.access import KEY_SCOPES, AccessScope, KeyText, digest_of, is_allowed, read_key
from windlass.core.limits import ACCESS_ID_DIGITS, ACCESS_SECRET_DIGITS, ACCESS_USED_S, NAME_CHARS
from windlass.engine.failures import Failures
from windlass.errors import ConflictError, InputError, NotFoundError, StoreError, WindlassError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

LOOPBACK: Final = "loopback"
ANONYMOUS: Final = "anonymous"

_NOBODY: Final = secrets.token_bytes(32)
"""Compared with where there is no such key, so that this takes as long."""
_UNKNOWN: Final = KeyText("", "")
_USED: Final = timedelta(seconds=ACCESS_USED_S)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_KEY: Final = (
    "this takes a key, sent as `Authorization: Bearer wl_…`; `windlass key create` makes one on the server's machine"
)
_NO_KEYS_YET: Final = (
    "this server has no keys yet, and lets in nobody but programs on its own machine: make a key there with "
    '`windlass key create NAME --scope admin`, or set auth = "off" (WINDLASS_AUTH=off) to let in everybody'
)

_log = get_logger()


class KeyRing:
    """All keys, in memory, as the store has them.

    Concurrency: of one event loop; changes go one after the other. Keys are changed through the one ring of a
    store's server, or through one of its own where no server runs.
    """

    def __init__(self, keys: Keys, clock: Clock, *, is_off: bool = False) -> None:
        self._store = keys
        self._clock = clock
        self._is_off = is_off
        self._keys: dict[str, AccessKey] = {}
        self._has_keys = True  # until they are read
        self._noted: dict[str, datetime] = {}
        self._noting: set[asyncio.Task[None]] = set()
        self._failures = Failures()
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the keys. Until then nobody comes in.

        Raises:
            StoreError: they cannot be read.
        """
        self._keys = {key.id: key for key in await self._store.all()}
        self._has_keys = any(_is_live(key) for key in self._keys.values())

    async def refresh(self) -> None:
        """Read the keys again: another server may have changed them.

        Raises:
            StoreError: they cannot be read.
        """
        async with self._changing:  # RACE: what was read before a change must not come after it
            await self.load()

    async def close(self) -> None:
        """See written down when keys were used. Idempotent."""
        if self._noting:
            await asyncio.wait(self._noting)

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._is_off

    @property
    def has_keys(self) -> bool:
        """Whether there is a key in use."""
        return self._has_keys

    @property
    def has_admin(self) -> bool:
        """Whether there is a key in use that can make others."""
        return any(_is_admin(key) for key in self._keys.values())

    # who may come in ─────────────────────────────────────────────

    def admit(self, caller: Caller, needed: AccessScope) -> str:
        """Let a caller in, and say who it is."""
        nobody = LOOPBACK if caller.is_local else ANONYMOUS
        if needed is AccessScope.PUBLIC or self._is_off or (caller.is_local and not self._has_keys):
            return nobody
        key = self._recognise(caller.key)
        if key is None:
            self._refuse(caller)
        if not is_allowed(key.scopes, needed):
            has = ", ".join(key.scopes)
            raise WindlassError(f"this takes a key with the scope {needed}; yours has {has}", code="forbidden")
        self._note_use(key)
        return key.id

    def _recognise(self, text: str | None) -> AccessKey | None:
        """Find the key that `text` is. Does the same work for all that are none."""
        said = read_key(text or "") or _UNKNOWN
        key = self._keys.get(said.id)
        is_same = hmac.compare_digest(digest_of(said.secret), _NOBODY if key is None else key.digest)
        return key if is_same and key is not None and _is_live(key) else None

    def _refuse(self, caller: Caller) -> NoReturn:
        """Say that a key is needed: to all the same, whatever was wrong with theirs.

        Wrong keys are counted by address; who has none has not guessed, and a right key is never held up by the
        wrong ones of a neighbour behind the same address.
        """
        if caller.key is not None and (wait_s := self._failures.add(caller.address, now_s=self._clock.monotonic())):
            raise WindlassError(
                "too many wrong keys came from this address", code="too_many_failures", retry_after_s=wait_s
            )
        raise WindlassError(_NO_KEY if self._has_keys else _NO_KEYS_YET, code="unauthenticated")

    def _note_use(self, key: AccessKey) -> None:
        now = self._clock.now()
        noted = self._noted.get(key.id)
        if noted is None or abs(now - noted) >= _USED:
            self._noted[key.id] = now
            noting = asyncio.create_task(self._touch(key.id, now))
            self._noting.add(noting)
            noting.add_done_callback(self._noting.discard)

    async def _touch(self, id: str, at: datetime) -> None:  # noqa: A002
        try:
            await self._store.touch([(id, at)])
        except StoreError as error:
            _log.warning(words.KEY_USE_UNSAVED, key=id, error=error.detail)

    # keys ────────────────────────────────────────────────────────

    def list_keys(self) -> Sequence[AccessKey]:
        """Give all keys, by the time they were made."""
        return [
            msgspec.structs.replace(key, used_at=self._noted.get(key.id, key.used_at)) for key in self._keys.values()
        ]

    async def create_key(self, name: str, scopes: Sequence[AccessScope]) -> NewKey:
        """Make a key."""
        _check_name(name)
        if not scopes or not set(scopes) <= set(KEY_SCOPES):
            raise InputError(
                f"say what the key may do: some of {', '.join(KEY_SCOPES)}", code="invalid_value", pointer="/scopes"
            )
        async with self._changing:
            is_first = not self._has_keys
            if is_first and AccessScope.ADMIN not in scopes:
                raise InputError(
                    "the first key must have the scope admin: once there is a key everybody needs one, and nobody "
                    "could make another",
                    code="invalid_value",
                    pointer="/scopes",
                )
            text = KeyText(secrets.token_hex(ACCESS_ID_DIGITS // 2), secrets.token_hex(ACCESS_SECRET_DIGITS // 2))
            key = AccessKey(
                id=text.id,
                name=name,
                digest=digest_of(text.secret),
                scopes=tuple(scope.value for scope in KEY_SCOPES if scope in scopes),
                created_at=self._clock.now(),
            )
            await self._store.add(key)
            await self.load()
        return NewKey(key, text, is_first)

    async def revoke_key(self, id: str, *, may_be_last: bool = False) -> AccessKey:  # noqa: A002
        """Take a key out of use. `may_be_last`: also the last one that can make others."""
        async with self._changing:
            key = self._keys.get(id)
            if key is None:
                raise NotFoundError("there is no such key: `windlass key list` shows those there are")
            if not _is_live(key):
                return key
            if not may_be_last and _is_admin(key) and not self._has_admin_besides(key):
                raise ConflictError(
                    "this is the last key with the scope admin: make another first, or stop the server and revoke it "
                    "with `windlass key revoke ID --data DIR`",
                    code="last_admin_key",
                )
            await self._store.revoke(id, at=self._clock.now())
            await self.load()
        return self._keys[id]

    def _has_admin_besides(self, key: AccessKey) -> bool:
        return any(_is_admin(other) for other in self._keys.values() if other.id != key.id)


def _is_live(key: AccessKey) -> bool:
    return key.revoked_at is None


def _is_admin(key: AccessKey) -> bool:
    return _is_live(key) and is_allowed(key.scopes, AccessScope.ADMIN)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARS:
        raise InputError(f"a name has 1 to {NAME_CHARS} characters", code="invalid_value", pointer="/name")
    if _CONTROL.search(name):
        raise InputError("a name is one line of text", code="invalid_text", pointer="/name")

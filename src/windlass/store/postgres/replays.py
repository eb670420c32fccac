"""What was answered to requests with an Idempotency-Key, kept with what they brought. Decides nothing about tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec.structs import replace

from windlass.contracts.tasks import Applied, Refusal, Refused, Replay, WriteResult
from windlass.store.postgres import statements as sql
from windlass.store.postgres.groups import columns
from windlass.store.postgres.ledger import Ledger
from windlass.wire.codec import decode_json, encode_view


class Replays:
    """The replays of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection

    async def answers(self, replays: Iterable[Replay | None]) -> Mapping[int, WriteResult]:
        """Answer those of `replays` that are known and not past their time, by their places; forget those past it."""
        asked = {place: replay for place, replay in enumerate(replays) if replay is not None}
        if not asked:
            return {}
        keys = columns([(place, replay.scope, replay.key) for place, replay in asked.items()])
        rows = await self._connection.fetch(sql.KNOWN_REPLAYS, *keys, self._ledger.now)
        expired = [asked[place] for place, _, _, holds in rows if not holds]
        if expired:
            keys = columns([(replay.scope, replay.key) for replay in expired])
            await self._connection.execute(sql.FORGET_EXPIRED, *keys, self._ledger.now)
        return {place: _answer(asked[place], fingerprint, raw) for place, fingerprint, raw, holds in rows if holds}

    async def keep(self, answered: Iterable[tuple[Replay | None, WriteResult]]) -> None:
        """Keep what has been answered first; a refusal has stored nothing, and nothing is kept of it."""
        rows = [
            _row(replay, result)
            for replay, result in answered
            if replay is not None and isinstance(result, Applied) and not result.replayed
        ]
        if rows:
            await self._connection.execute(sql.KEEP_REPLAYS, *columns(sorted(rows)))


def _row(replay: Replay, result: Applied) -> tuple[str, str, bytes, datetime, bytes]:
    return (replay.scope, replay.key, replay.fingerprint, replay.until, encode_view(result))


def _answer(replay: Replay, fingerprint: bytes, raw: bytes) -> WriteResult:
    if fingerprint != replay.fingerprint:
        return Refused(Refusal.REPLAY)
    first = msgspec.convert(decode_json(raw), Applied)
    return replace(first, placed=tuple(first.placed), replayed=True)

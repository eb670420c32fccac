"""What was answered to requests with an Idempotency-Key, kept with what they brought. Decides nothing about tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from windlass.contracts.tasks import Applied, Refusal, Refused, Replay, WriteResult
from windlass.store.instants import to_micros
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Row
from windlass.store.sqlite.ledger import Ledger
from windlass.wire.codec import decode_json, encode_view


class Replays:
    """The replays of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def answers(self, replays: Iterable[Replay | None]) -> Mapping[int, WriteResult]:
        """Answer those of `replays` that are known and not past their time, by their places."""
        asked = {place: replay for place, replay in enumerate(replays) if replay is not None}
        if not asked:
            return {}
        keys = [(place, replay.scope, replay.key, self._ledger.now) for place, replay in asked.items()]
        rows = self._ledger.connection.executemany(sql.KNOWN_REPLAY, keys).fetchall()
        return {place: _answer(asked[place], fingerprint, raw) for place, fingerprint, raw in rows}

    def keep(self, answered: Iterable[tuple[Replay | None, WriteResult]]) -> None:
        """Keep what has been answered first; a refusal has stored nothing, and nothing is kept of it."""
        rows = [
            _row(replay, result)
            for replay, result in answered
            if replay is not None and isinstance(result, Applied) and not result.replayed
        ]
        if rows:
            self._ledger.connection.executemany(sql.KEEP_REPLAY, rows)


def _row(replay: Replay, result: Applied) -> Row:
    return (replay.scope, replay.key, replay.fingerprint, to_micros(replay.until), encode_view(result))


def _answer(replay: Replay, fingerprint: bytes, raw: bytes) -> WriteResult:
    if fingerprint != replay.fingerprint:
        return Refused(Refusal.REPLAY)
    first = msgspec.convert(decode_json(raw), Applied)
    return replace(first, placed=tuple(first.placed), replayed=True)

"""The statements of leases. Decides nothing about tasks."""

from __future__ import annotations

from typing import Final

BEAT: Final = """-- Renew a lease that has not ended. Waits for who is about to end it, and then changes nothing.
UPDATE windlass.servers SET beat_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL"""

ENROLL: Final = """-- Give a server a lease. Told twice, it stays the one it got first.
INSERT INTO windlass.servers (id, host, pid, version, home, started_at, ttl_s, beat_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp()) ON CONFLICT (id) DO NOTHING"""

END_HOME: Final = """-- End the leases of a home but one. The lock waits for turns that claim under them.
WITH gone AS (
    SELECT id FROM windlass.servers WHERE home = $1 AND id <> $2 AND ended_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE windlass.servers SET ended_at = clock_timestamp() FROM gone WHERE servers.id = gone.id"""

LEAVE: Final = """-- End one lease. The lock waits for a turn that claims under it.
WITH gone AS (SELECT id FROM windlass.servers WHERE id = $1 AND ended_at IS NULL FOR UPDATE)
UPDATE windlass.servers SET ended_at = clock_timestamp() FROM gone WHERE servers.id = gone.id"""

EXPIRE: Final = """-- End the leases that have run out. One that is just renewed, ended or claimed under is left
-- for the next look.
WITH gone AS (
    SELECT id FROM windlass.servers
    WHERE ended_at IS NULL AND beat_at + ttl_s * interval '1 second' < clock_timestamp()
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE windlass.servers SET ended_at = clock_timestamp() FROM gone WHERE servers.id = gone.id
RETURNING servers.id, host, pid, version, started_at, home"""

SERVERS: Final = """-- The leases, of late. One that has run out is not live, though nobody has ended it yet.
SELECT id, host, pid, version, started_at, home, beat_at, kinds,
    ended_at IS NULL AND beat_at + ttl_s * interval '1 second' >= clock_timestamp() AS is_live
FROM windlass.servers ORDER BY started_at, id"""

SERVE: Final = """-- Note the kinds that a server's workers know.
UPDATE windlass.servers SET kinds = $2 WHERE id = $1"""

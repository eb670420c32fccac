"""Every SQL statement that reads a page of tasks or finds where one ends, each with a line that says what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound. What belongs to a task
is looked up for each by itself (`LATERAL .. LIMIT 1`): that leaves no plan but the one by the indexes, in order and up
to the limit, whatever is estimated.
"""

from __future__ import annotations

from typing import Final

from windlass.store.postgres.rows import ENDED_COLUMNS, HOT_COLUMNS

# ── what a task must match ─────────────────────────────────────────

# Whether a task matches a query, each part of which may be left out; first what it was submitted with. The name is
# sought by its beginning, up to a text that no name reaches.
_SPEC_MATCHES: Final = """
    ($2::text IS NULL OR {0}.kind = $2) AND ($4::text IS NULL OR {0}.key = $4)
    AND ($5::text IS NULL OR {0}.tags ->> $5 = $6::text)
    AND ($8::timestamptz IS NULL OR {0}.created_at > $8) AND ($9::timestamptz IS NULL OR {0}.created_at < $9)
    AND ($12::text IS NULL OR {0}.number = $13::bigint OR {0}.id = $14::uuid OR {0}.key = $12
        OR {0}.name >= $12 AND {0}.name < $15::text)
    AND ($16::text IS NULL OR {0}.origin = $16)"""
# Then what has become of it. The three reasons are those after which `core.waiting` calls a task's time its retry.
_MATCHES: Final = """
    ($1::text IS NULL OR w.state = $1) AND ($3::text IS NULL OR w.queue = $3)
    AND ($7::text IS NULL OR w.state = 'queued' AND $7 = CASE
        WHEN w.held THEN 'hold'
        WHEN w.ready THEN NULL
        WHEN w.reason IN ('error', 'timed_out', 'lost') THEN 'retry'
        ELSE 'until'
    END)
    AND ($10::timestamptz IS NULL OR w.finished_at > $10) AND ($11::timestamptz IS NULL OR w.finished_at < $11)
    AND ($17::boolean IS NULL OR w.hidden = $17)"""
_ALL_MATCHES: Final = f"{_SPEC_MATCHES.format('w')} AND {_MATCHES}"

# ── stretches of numbers ───────────────────────────────────────────

_SPEC_AND_LANE: Final = """
    CROSS JOIN LATERAL (SELECT * FROM windlass.specs WHERE number = {0}.number LIMIT 1) AS s
    CROSS JOIN LATERAL (SELECT * FROM windlass.lanes WHERE lane = {0}.lane LIMIT 1) AS l"""
_HOT: Final = f"SELECT {HOT_COLUMNS}, t.ready FROM windlass.tasks AS t {_SPEC_AND_LANE.format('t')}"  # noqa: S608 of constants alone, once
_ENDED: Final = f"SELECT {ENDED_COLUMNS}, false AS ready FROM windlass.ended AS e {_SPEC_AND_LANE.format('e')}"  # noqa: S608 of constants alone, once
# Read the tasks of a stretch of numbers that match, falling.
PAGE_NEWEST: Final = f"""
SELECT * FROM (
    (SELECT * FROM ({_HOT} WHERE t.number BETWEEN $19 AND $20) AS w
    WHERE {_ALL_MATCHES} ORDER BY number DESC LIMIT $18)
    UNION ALL
    (SELECT * FROM ({_ENDED} WHERE e.number BETWEEN $19 AND $20) AS w
    WHERE {_ALL_MATCHES} ORDER BY number DESC LIMIT $18)) AS found
ORDER BY number DESC LIMIT $18"""  # noqa: S608 of constants alone, once
# Read the tasks of a stretch of numbers that match, rising.
PAGE_OLDEST: Final = f"""
SELECT * FROM (
    (SELECT * FROM ({_HOT} WHERE t.number BETWEEN $19 AND $20) AS w
    WHERE {_ALL_MATCHES} ORDER BY number LIMIT $18)
    UNION ALL
    (SELECT * FROM ({_ENDED} WHERE e.number BETWEEN $19 AND $20) AS w
    WHERE {_ALL_MATCHES} ORDER BY number LIMIT $18)) AS found
ORDER BY number LIMIT $18"""  # noqa: S608 of constants alone, once
# Read the lowest and the highest number; nothing at all is the stretch from 1 to 0.
SPAN: Final = "SELECT coalesce(min(number), 1), coalesce(max(number), 0) FROM windlass.specs"

# ── tasks that an index of specs leads to ──────────────────────────

# The hot table is asked first, then day by day the ended ones; a task is in one of them.
_ITS_TASK: Final = f"""
CROSS JOIN LATERAL (
    SELECT {HOT_COLUMNS}, t.ready FROM windlass.tasks AS t
    CROSS JOIN LATERAL (SELECT * FROM windlass.lanes WHERE lane = t.lane LIMIT 1) AS l WHERE t.number = s.number
    UNION ALL
    SELECT {ENDED_COLUMNS}, false FROM windlass.ended AS e
    CROSS JOIN LATERAL (SELECT * FROM windlass.lanes WHERE lane = e.lane LIMIT 1) AS l WHERE e.number = s.number
    LIMIT 1) AS w"""  # noqa: S608 of constants alone, once
_OF_SPECS: Final = f"""
SELECT w.* FROM windlass.specs AS s {_ITS_TASK}
WHERE {_SPEC_MATCHES.format("s")} AND {_MATCHES}"""  # noqa: S608 of constants alone, once
_WITH_KEY: Final = "s.key = $4 AND s.number BETWEEN $19 AND $20"
# Read the tasks with a key that match, falling.
PAGE_NEWEST_BY_KEY: Final = f"{_OF_SPECS} AND {_WITH_KEY} ORDER BY s.number DESC LIMIT $18"
# Read the tasks with a key that match, rising.
PAGE_OLDEST_BY_KEY: Final = f"{_OF_SPECS} AND {_WITH_KEY} ORDER BY s.number LIMIT $18"
_FOUND: Final = """s.number BETWEEN $19 AND $20 AND s.number = ANY (ARRAY(
        SELECT $13
        UNION ALL SELECT number FROM windlass.specs WHERE id = $14
        UNION ALL SELECT number FROM windlass.specs WHERE key = $12
        UNION ALL SELECT number FROM windlass.specs WHERE name >= $12 AND name < $15))"""
# Read the tasks that a search finds by its indexes and that match, falling.
PAGE_NEWEST_FOUND: Final = f"{_OF_SPECS} AND {_FOUND} ORDER BY s.number DESC LIMIT $18"
# Read the tasks that a search finds by its indexes and that match, rising.
PAGE_OLDEST_FOUND: Final = f"{_OF_SPECS} AND {_FOUND} ORDER BY s.number LIMIT $18"
# Their numbers come from the index of origins alone, in order, and nothing else is looked at.
_NUMBERS: Final = """
    SELECT number FROM windlass.specs
    WHERE origin = $16 AND (origin, number) >= ($16, $19) AND (origin, number) <= ($16, $20)"""
_OF_ORIGIN: Final = f"""
CROSS JOIN LATERAL (SELECT * FROM windlass.specs WHERE number = o.number LIMIT 1) AS s {_ITS_TASK}
WHERE {_SPEC_MATCHES.format("s")} AND {_MATCHES}"""  # noqa: S608 of constants alone, once
# Read the tasks of an origin in a stretch of numbers that match, falling.
PAGE_NEWEST_OF_ORIGIN: Final = f"""
SELECT w.* FROM ({_NUMBERS} ORDER BY number DESC OFFSET 0) AS o {_OF_ORIGIN} ORDER BY o.number DESC LIMIT $18"""  # noqa: S608 of constants alone, once
# Read the tasks of an origin in a stretch of numbers that match, rising.
PAGE_OLDEST_OF_ORIGIN: Final = f"""
SELECT w.* FROM ({_NUMBERS} ORDER BY number OFFSET 0) AS o {_OF_ORIGIN} ORDER BY o.number LIMIT $18"""  # noqa: S608 of constants alone, once
# Find where a stretch of so many tasks of an origin ends, falling.
LAST_OF_ORIGIN_NEWEST: Final = """
SELECT number FROM windlass.specs
WHERE origin = $1 AND (origin, number) >= ($1, $2) AND (origin, number) <= ($1, $3)
ORDER BY number DESC LIMIT 1 OFFSET $4"""
# Find where a stretch of so many tasks of an origin ends, rising.
LAST_OF_ORIGIN_OLDEST: Final = """
SELECT number FROM windlass.specs
WHERE origin = $1 AND (origin, number) >= ($1, $2) AND (origin, number) <= ($1, $3)
ORDER BY number LIMIT 1 OFFSET $4"""
# Whether a search would find more names than a page may examine.
MANY_NAMES: Final = """
SELECT true FROM windlass.specs WHERE name >= $1 AND name < $2 ORDER BY name LIMIT 1 OFFSET $3"""

# ── in the order of their ends ─────────────────────────────────────

# Read the tasks of a stretch of endings in a state that match, falling.
PAGE_ENDED_LAST: Final = f"""
SELECT * FROM (
    {_ENDED}
    WHERE e.state = $1 AND e.finished_at BETWEEN $21 AND $19 AND (e.finished_at, e.number) < ($19, $20)
        AND (e.finished_at, e.number) >= ($21, $22)) AS w
WHERE {_ALL_MATCHES} ORDER BY finished_at DESC, number DESC LIMIT $18"""  # noqa: S608 of constants alone, once
# Find where a stretch of endings ends.
LAST_EXAMINED: Final = """
SELECT finished_at, number FROM windlass.ended
WHERE state = $1 AND finished_at BETWEEN $2 AND $3 AND (finished_at, number) < ($3, $4)
ORDER BY finished_at DESC, number DESC LIMIT 1 OFFSET $5"""

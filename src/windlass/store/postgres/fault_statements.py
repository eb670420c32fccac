"""Every SQL statement that looks for damage, each with what to say of its finds. Knows no rules of tasks.

Each reads the whole of a table or two once, and gives the numbers of the first that it finds.
"""

from __future__ import annotations

from typing import Final

FAULTS: Final = (
    # A task that was submitted and is nowhere, or in two places at once.
    (
        """
SELECT s.number FROM windlass.specs AS s
WHERE NOT EXISTS (SELECT FROM windlass.tasks AS t WHERE t.number = s.number)
    AND NOT EXISTS (SELECT FROM windlass.ended AS e WHERE e.number = s.number)
LIMIT $1""",
        "task {} was submitted, and is neither among those that have ended nor among the others",
    ),
    (
        """
SELECT t.number FROM windlass.tasks AS t
WHERE EXISTS (SELECT FROM windlass.ended AS e WHERE e.number = t.number)
LIMIT $1""",
        "task {} is both among those that have ended and among the others",
    ),
    (
        "SELECT number FROM windlass.ended GROUP BY number HAVING count(*) > 1 LIMIT $1",
        "task {} has ended on several days",
    ),
    # What refers to a task or a lane that is not there.
    (
        """
SELECT t.number FROM windlass.tasks AS t
WHERE NOT EXISTS (SELECT FROM windlass.specs AS s WHERE s.number = t.number)
LIMIT $1""",
        "row {} of tasks refers to a row of specs that is not there",
    ),
    (
        """
SELECT e.number FROM windlass.ended AS e
WHERE NOT EXISTS (SELECT FROM windlass.specs AS s WHERE s.number = e.number)
LIMIT $1""",
        "row {} of ended refers to a row of specs that is not there",
    ),
    (
        """
SELECT t.number FROM windlass.tasks AS t
WHERE NOT EXISTS (SELECT FROM windlass.lanes AS l WHERE l.lane = t.lane)
LIMIT $1""",
        "row {} of tasks refers to a row of lanes that is not there",
    ),
    (
        """
SELECT e.number FROM windlass.ended AS e
WHERE NOT EXISTS (SELECT FROM windlass.lanes AS l WHERE l.lane = e.lane)
LIMIT $1""",
        "row {} of ended refers to a row of lanes that is not there",
    ),
    (
        """
SELECT DISTINCT v.number FROM windlass.events AS v
WHERE NOT EXISTS (SELECT FROM windlass.specs AS s WHERE s.number = v.number)
LIMIT $1""",
        "events refer to a task {} that is not there",
    ),
    (
        """
SELECT DISTINCT f.number FROM windlass.files AS f
WHERE NOT EXISTS (SELECT FROM windlass.specs AS s WHERE s.number = f.number)
LIMIT $1""",
        "files refer to a task {} that is not there",
    ),
    (
        """
SELECT c.number FROM windlass.checkpoints AS c
WHERE NOT EXISTS (SELECT FROM windlass.specs AS s WHERE s.number = c.number)
LIMIT $1""",
        "a checkpoint refers to a task {} that is not there",
    ),
    (
        """
SELECT DISTINCT c.lane FROM windlass.counts AS c
WHERE NOT EXISTS (SELECT FROM windlass.lanes AS l WHERE l.lane = c.lane)
LIMIT $1""",
        "counts refer to a lane {} that is not there",
    ),
    # A lease that ended no longer ago than it lasts is about to be taken over.
    (
        """
SELECT t.number FROM windlass.tasks AS t
WHERE t.state = 'running' AND NOT EXISTS (
    SELECT FROM windlass.servers AS v
    WHERE v.id = t.server
        AND (v.ended_at IS NULL OR v.ended_at > clock_timestamp() - v.ttl_s * interval '1 second'))
LIMIT $1""",
        "task {} runs for a server that holds no lease, and nobody has taken it over",
    ),
    (
        """
SELECT lane FROM windlass.counts
GROUP BY lane, state HAVING sum(tasks) < 0 OR sum(size_bytes) < 0
LIMIT $1""",
        "less than nothing is counted in lane {}",
    ),
)
"""Statements, and what is wrong with what they find."""

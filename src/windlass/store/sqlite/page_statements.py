"""Every SQL statement that reads a page of tasks or finds where one ends, each with a line that says what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound.
"""

from __future__ import annotations

from typing import Final

# Whether a task matches a query, each part of which may be left out. The three reasons are those after which
# `core.waiting` calls a task's time its retry.
_MATCHES: Final = """
    (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR key = ?4)
    AND (?5 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) AS tag WHERE tag.key = ?5 AND tag.value = ?6))
    AND (?7 IS NULL OR state = 'queued' AND ?7 = CASE
        WHEN held THEN 'hold'
        WHEN ready THEN NULL
        WHEN reason IN ('error', 'timed_out', 'lost') THEN 'retry'
        ELSE 'until'
    END)
    AND (?8 IS NULL OR created_at > ?8) AND (?9 IS NULL OR created_at < ?9)
    AND (?10 IS NULL OR finished_at > ?10) AND (?11 IS NULL OR finished_at < ?11)
    AND (?12 IS NULL OR number = ?13 OR id = ?14 OR key = ?12 OR name >= ?12 AND name < ?15)
    AND (?16 IS NULL OR origin = ?16) AND (?17 IS NULL OR hidden = ?17)
"""
# Read the tasks of a stretch of numbers that match, falling.
PAGE_NEWEST: Final = f"""
SELECT * FROM whole_tasks WHERE number BETWEEN ?19 AND ?20 AND {_MATCHES} ORDER BY number DESC LIMIT ?18"""  # noqa: S608 of constants alone, once
# Read the tasks of a stretch of numbers that match, rising.
PAGE_OLDEST: Final = f"""
SELECT * FROM whole_tasks WHERE number BETWEEN ?19 AND ?20 AND {_MATCHES} ORDER BY number LIMIT ?18"""  # noqa: S608 of constants alone, once
_WITH_KEY: Final = "number IN (SELECT number FROM specs WHERE key = ?4)"
# Read the tasks with a key that match, falling.
PAGE_NEWEST_BY_KEY: Final = f"""
SELECT * FROM whole_tasks
WHERE {_WITH_KEY} AND number BETWEEN ?19 AND ?20 AND {_MATCHES} ORDER BY number DESC LIMIT ?18"""  # noqa: S608 of constants alone, once
# Read the tasks with a key that match, rising.
PAGE_OLDEST_BY_KEY: Final = f"""
SELECT * FROM whole_tasks
WHERE {_WITH_KEY} AND number BETWEEN ?19 AND ?20 AND {_MATCHES} ORDER BY number LIMIT ?18"""  # noqa: S608 of constants alone, once
_FOUND: Final = """number IN (
        SELECT ?13 WHERE ?13 IS NOT NULL
        UNION ALL SELECT number FROM tasks WHERE id = ?14
        UNION ALL SELECT number FROM specs WHERE key = ?12
        UNION ALL SELECT number FROM specs INDEXED BY specs_by_name WHERE name >= ?12 AND name < ?15)"""
# Read the tasks that a search finds by its indexes and that match, falling.
PAGE_NEWEST_FOUND: Final = f"""
SELECT * FROM whole_tasks
WHERE {_FOUND} AND number BETWEEN ?19 AND ?20 AND {_MATCHES} ORDER BY number DESC LIMIT ?18"""  # noqa: S608 of constants alone, once
# Read the tasks that a search finds by its indexes and that match, rising.
PAGE_OLDEST_FOUND: Final = f"""
SELECT * FROM whole_tasks
WHERE {_FOUND} AND number BETWEEN ?19 AND ?20 AND {_MATCHES} ORDER BY number LIMIT ?18"""  # noqa: S608 of constants alone, once
_OF_ORIGIN: Final = """number IN (
        SELECT number FROM specs INDEXED BY specs_by_origin WHERE origin = ?16 AND number BETWEEN ?19 AND ?20)"""
# Read the tasks of an origin in a stretch of numbers that match, falling.
PAGE_NEWEST_OF_ORIGIN: Final = f"""
SELECT * FROM whole_tasks WHERE {_OF_ORIGIN} AND {_MATCHES} ORDER BY number DESC LIMIT ?18"""  # noqa: S608 of constants alone, once
# Read the tasks of an origin in a stretch of numbers that match, rising.
PAGE_OLDEST_OF_ORIGIN: Final = f"""
SELECT * FROM whole_tasks WHERE {_OF_ORIGIN} AND {_MATCHES} ORDER BY number LIMIT ?18"""  # noqa: S608 of constants alone, once
# Find where a stretch of so many tasks of an origin ends, falling.
LAST_OF_ORIGIN_NEWEST: Final = """
SELECT number FROM specs INDEXED BY specs_by_origin
WHERE origin = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number DESC LIMIT 1 OFFSET ?4"""
# Find where a stretch of so many tasks of an origin ends, rising.
LAST_OF_ORIGIN_OLDEST: Final = """
SELECT number FROM specs INDEXED BY specs_by_origin
WHERE origin = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number LIMIT 1 OFFSET ?4"""
# Whether a search would find more names than a page may examine.
MANY_NAMES: Final = """
SELECT 1 FROM specs INDEXED BY specs_by_name WHERE name >= ?1 AND name < ?2 LIMIT 1 OFFSET ?3"""
# Read the tasks of a stretch of endings in a state that match, falling.
PAGE_ENDED_LAST: Final = f"""
SELECT * FROM whole_tasks
WHERE state = ?1 AND finished_at BETWEEN ?21 AND ?19 AND (finished_at, number) < (?19, ?20)
    AND (finished_at, number) >= (?21, ?22) AND {_MATCHES}
ORDER BY finished_at DESC, number DESC LIMIT ?18"""  # noqa: S608 of constants alone, once
# Find where a stretch of endings ends.
LAST_EXAMINED: Final = """
SELECT finished_at, number FROM tasks INDEXED BY ended_tasks
WHERE state = ?1 AND finished_at >= ?2 AND finished_at <= ?3 AND (finished_at, number) < (?3, ?4)
ORDER BY finished_at DESC, number DESC LIMIT 1 OFFSET ?5"""

"""What PostgreSQL's plans tell: which of their steps cost more the more tasks there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

GROWS = re.compile("tasks|specs|events|ended.*|files|tombstones|checkpoints")
"""Tables that have as many rows as there are tasks, or some part of them."""


def steps_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give all steps of a plan, in the JSON of EXPLAIN."""
    yield plan
    for part in plan.get("Plans", []):
        yield from steps_of(part)


def costly_steps(plan: dict[str, Any]) -> list[str]:
    """Name the steps that go through all there is of what grows, or sort it."""
    found: list[str] = []
    for step in steps_of({"Node Type": "", "Plans": [plan]}):
        found += [
            f"{part['Node Type']} on {part['Relation Name']}"
            for part in step.get("Plans", [])
            if GROWS.fullmatch(part.get("Relation Name", "")) and _is_walk(part, step["Node Type"])
        ]
        if step["Node Type"].endswith("Sort") and any(map(_is_of_what_grows, steps_of(step))):
            found.append(f"{step['Node Type']} by {step['Sort Key']}")
    return found


def blocks_of(plan: dict[str, Any]) -> int:
    """Count the blocks that a plan with BUFFERS has looked at."""
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def _is_walk(step: dict[str, Any], parent: str) -> bool:
    """Whether a step goes through all there is, more than to the first of an index or through those that run."""
    if step["Node Type"] == "Seq Scan":
        return True
    is_first = parent == "Limit" and "Filter" not in step
    is_bound = "Index Cond" in step or step.get("Index Name") == "running_tasks" or is_first
    return step["Node Type"].startswith(("Index", "Bitmap Index")) and not is_bound


def _is_of_what_grows(step: dict[str, Any]) -> bool:
    return GROWS.fullmatch(step.get("Relation Name", "")) is not None and step["Node Type"] != "ModifyTable"

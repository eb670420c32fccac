"""The reference of the settings in docs/ says what the schema says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from windlass.config.fields import fields_of
from windlass.config.reference import render
from windlass.config.schema import Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == render(), "run python -m windlass.config.reference > docs/settings.md"


def test_the_command_that_makes_the_page_writes_it_and_nothing_else():
    command = [sys.executable, "-m", "windlass.config.reference"]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=15, env={"PYTHONIOENCODING": "utf-8"})
    assert ended.stdout.decode() == render()
    assert ended.stderr == b""


def test_every_setting_has_a_row_of_four_cells():
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    for field in fields_of(Settings).values():
        (row,) = (row for row in rows if row.startswith(f"| `{field.name}`<br>`{field.variable}` |"))
        assert row.count("|") == 5
        assert field.expected in row
        assert field.description in row


def test_large_defaults_are_told_in_units_that_people_read():
    assert "| `1048576` (1 MiB) |" in render()
    assert "| `1099511627776` (1024 GiB) |" in render()

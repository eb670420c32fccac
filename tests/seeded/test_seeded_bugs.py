"""Every bug of the bank, put into a copy of the tree, is seen by the tests that are to see it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bank import BANK
from bank_bug import Bug
from rotation import share
from syscalls import need_strace

ROOT = Path(__file__).parents[2]
COPIED = ("src", "tests", "pyproject.toml")
SHARES = len(BANK)
"""One bug in each run of the tests."""
HANG_S = 240.0

_RUN = """
import sys
import pytest
import windlass
home, *arguments = sys.argv[1:]
assert windlass.__file__.startswith(home), f"{windlass.__file__} is not the copy"
sys.exit(pytest.main([*arguments, "-x", "-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider"]))
"""


def copy_of_the_tree(home: Path) -> Path:
    """Copy what tests need; compiled files come along, and hold for all that is not changed afterwards."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, home / name, ignore=shutil.ignore_patterns(".hypothesis", "node_modules"))
        else:
            shutil.copy2(source, home / name)
    return home.resolve()


def put_in(bug: Bug, home: Path) -> None:
    """Put a bug into a copy of the tree."""
    path = home / "src/windlass" / bug.file
    text = path.read_text()
    assert text.count(bug.old) == 1, f"{bug.name}: what it changes stands {text.count(bug.old)} times in {bug.file}"
    path.write_text(text.replace(bug.old, bug.new))
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def run_tests(home: Path, bug: Bug, *options: str) -> tuple[int, str]:
    """Run the tests of a bug on a copy of the tree; give pytest's exit code and what it said."""
    environ = {**os.environ, "PYTHONPATH": str(home / "src"), "PYTEST_ADDOPTS": ""}
    environ.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-c", _RUN, str(home), *options, *bug.tests]
    outcome = subprocess.run(
        command, cwd=home, env=environ, capture_output=True, text=True, check=False, timeout=HANG_S
    )
    return outcome.returncode, outcome.stdout[-3000:] + outcome.stderr[-1000:]


def check(bug: Bug, home: Path) -> None:
    """See the tests pass without the bug, and fail with it: fail, not break."""
    if bug.needs_strace:
        need_strace()
    tree = copy_of_the_tree(home)
    code, said = run_tests(tree, bug)
    assert code == pytest.ExitCode.OK, f"fails without the bug: {said}"
    put_in(bug, tree)
    code, said = run_tests(tree, bug, "--timeout=10")
    assert code == pytest.ExitCode.TESTS_FAILED, f"nobody sees that {bug.name}: {said}"
    assert re.search(r"\d+ failed|\++ Timeout \++", said), f"broke instead of failing or hanging: {said}"


@pytest.mark.timeout(300)
def test_the_bug_of_the_day_is_seen(tmp_path: Path) -> None:
    (bug,) = share(BANK, of=SHARES)
    print(bug.name)
    check(bug, tmp_path)


def test_every_bug_changes_one_place_that_is_there(tmp_path: Path) -> None:
    for bug in BANK:
        text = (ROOT / "src/windlass" / bug.file).read_text()
        assert text.count(bug.old) == 1, f"{bug.name}: what it changes stands {text.count(bug.old)} times in {bug.file}"
        assert bug.old != bug.new
        for test in bug.tests:
            file, _, name = test.partition("::")
            assert name in (ROOT / file).read_text(), f"{bug.name}: there is no {test}"
    assert Counter(bug.name for bug in BANK).most_common(1)[0][1] == 1


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BANK, ids=lambda bug: bug.name.replace(" ", "_"))
def test_every_bug_is_seen(bug: Bug, tmp_path: Path) -> None:
    check(bug, tmp_path)

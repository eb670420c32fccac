"""Every line of shell in the pages of the dialects does what the page says: none of them is answered with an error."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from live import running

from windlass.config.dialects import NAMES

PAGES = Path(__file__).parents[2] / "docs" / "dialects"
SCRIPT = """set -euo pipefail
curl() {{ command curl --fail-with-body --max-time 20 "$@"; echo "asked: ${{*: -1}}" >&2; }}
{block}
"""


def test_every_dialect_has_its_page_with_its_settings():
    assert {path.stem for path in PAGES.glob("*.md")} == {"README", *NAMES}
    for name in NAMES:
        assert f"[dialects.{name}]" in (PAGES / f"{name}.md").read_text()
        assert f"({name}.md)" in (PAGES / "README.md").read_text()


@pytest.mark.timeout(90)
def test_every_command_of_the_pages_is_answered(tmp_path: Path):
    with running(tmp_path) as server:
        for name in NAMES:
            (block,) = re.findall(r"```bash\n(.*?)```", (PAGES / f"{name}.md").read_text(), re.DOTALL)
            script = SCRIPT.format(block=block.replace("localhost:8080", f"127.0.0.1:{server.port}"))
            ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
            assert ran.returncode == 0, f"{name}: {ran.stderr}{ran.stdout}"
            assert ran.stderr.count("asked: ") == block.count("curl ")

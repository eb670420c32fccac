"""`python -m windlass` is the command `windlass`. Does nothing else."""

from __future__ import annotations

import sys

from windlass.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

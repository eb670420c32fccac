"""A program that fetches one file as an attempt does, in small steps. Usage: crash_transfer.py URL DIRECTORY.

Exits with 0 when the file is published, with 1 when it could not be had, saying why.
"""

from __future__ import annotations

import sys
from pathlib import Path

from windlass.config.schema import Downloads
from windlass.errors import WindlassError
from windlass.handlers.download import sink
from windlass.handlers.download.folder import Folder
from windlass.handlers.download.plan import plan_files
from windlass.handlers.download.transfer import FileTransfer
from windlass.outbound.guard import Guard
from windlass.outbound.transport import Limits, Transport

STEP_BYTES = 200_000
EXIT_FAILED = 1


def fetch(url: str, directory: Path) -> None:
    """Fetch a file, syncing every so many bytes.

    Raises:
        WindlassError: it could not be had.
    """
    sink.SYNC_BYTES = STEP_BYTES  # type: ignore[misc]
    (plan,) = plan_files([url])
    transport = Transport(Guard(["127.0.0.0/8"]), Limits())
    with Folder(directory) as folder:
        FileTransfer(plan, folder=folder, transport=transport, settings=Downloads(floor_bytes=0)).run()


if __name__ == "__main__":
    try:
        fetch(sys.argv[1], Path(sys.argv[2]))
    except WindlassError as error:
        print(error.detail)
        sys.exit(EXIT_FAILED)

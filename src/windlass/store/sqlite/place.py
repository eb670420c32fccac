"""Where a database may lie: on a disk of this machine, under the name it was opened by. Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from windlass.errors import ConfigError, StoreCorrupt

_MOUNTS: Final = Path("/proc/self/mountinfo")
_OVER_A_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.cephfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2"}
    | {"glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs"}
)
"""File systems on which a lock or the shared memory of a log does not hold between machines."""


def refuse_network(directory: Path) -> None:
    """Refuse a data directory on a network file system: SQLite's locks and log do not hold there.

    Raises:
        ConfigError: it lies on one; names it.
    """
    kind = file_system_of(directory.resolve(), mounts())
    if kind in _OVER_A_NETWORK:
        raise ConfigError(
            f"data: {directory} lies on a network file system ({kind}), on which SQLite loses data: name a directory "
            "on a disk of this machine"
        )


def mounts() -> str:
    """Read what is mounted where; nothing on a system that does not say."""
    try:
        return _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def file_system_of(path: Path, mountinfo: str) -> str | None:
    r"""Say which kind of file system `path` lies on, by the text of a mountinfo file; None when that does not say.

    >>> file_system_of(Path("/srv/data/x"), "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /srv rw - nfs4 h:/e rw\n")
    'nfs4'
    """
    nearest: tuple[int, str | None] = (-1, None)
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5:
            continue
        point = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if path.is_relative_to(point) and len(point.parts) >= nearest[0]:  # a later mount hides an earlier one
            nearest = (len(point.parts), kind)
    return nearest[1]


def log_of(database: Path) -> Path:
    """Name the log beside a database."""
    return database.with_name(f"{database.name}-wal")


def file_bytes(path: Path) -> int:
    """Give the size of a file; 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


class Anchor:
    """The file that a path named when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = _inode(path.stat())

    def check(self) -> None:
        """See that the path still names that file: what is written to an unlinked one is acknowledged and lost.

        Raises:
            StoreCorrupt: it names another one, or none.
        """
        try:
            now = self._path.stat()
        except OSError:
            now = None
        if now is None or _inode(now) != self._inode or now.st_nlink != 1:
            raise StoreCorrupt(
                f"{self._path} was removed, replaced or linked elsewhere while it was open: nothing written since may "
                "be kept. Put the file back, or start anew from a backup"
            )


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino

"""Which directories a database may lie in, and whether its file is still the one that was opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass.errors import ConfigError, StoreCorrupt
from windlass.store.sqlite import place
from windlass.store.sqlite.place import Anchor, file_system_of, refuse_network

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /mnt/share rw - nfs4 host:/export rw
31 30 0:41 / /mnt/share/local rw shared:1 - xfs /dev/b rw
32 22 0:42 / /mnt/with\\040space rw - cifs //host/x rw
33 22 0:43 / /mnt/twice rw - ext4 /dev/c rw
34 22 0:44 / /mnt/twice rw - fuse.sshfs me@host: rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/data", "ext4"),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/a/b", "nfs4"),
        ("/mnt/share/local/a", "xfs"),
        ("/mnt/shared", "ext4"),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/twice/x", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_says_the_file_system(path: str, kind: str):
    assert file_system_of(Path(path), MOUNTS) == kind


def test_a_system_that_does_not_say_is_trusted():
    assert file_system_of(Path("/srv"), "") is None


def test_a_network_file_system_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(place, "mounts", lambda: MOUNTS)
    with pytest.raises(ConfigError, match=r"/mnt/share/x lies on a network file system \(nfs4\)"):
        refuse_network(Path("/mnt/share/x"))
    refuse_network(Path("/srv/data"))


@pytest.mark.parametrize("what", ["unlinked", "replaced", "linked"])
def test_a_file_that_is_not_the_one_opened_any_more_is_told(tmp_path: Path, what: str):
    path = tmp_path / "windlass.db"
    path.write_bytes(b"first")
    anchor = Anchor(path)
    path.write_bytes(b"changed, but the same file")
    anchor.check()
    if what == "linked":
        os.link(path, tmp_path / "other.db")
    else:
        path.rename(tmp_path / "aside.db") if what == "replaced" else path.unlink()
    if what == "replaced":
        path.write_bytes(b"first")
    with pytest.raises(StoreCorrupt, match="removed, replaced or linked elsewhere"):
        anchor.check()

"""A directory held open: what is done in it stays in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass.handlers.download.folder import Folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_bytes(b"mine")
    return path


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    path = tmp_path / "inside"
    path.mkdir()
    return path


@pytest.fixture
def folder(inside: Path) -> Iterator[Folder]:
    with Folder(inside) as folder:
        yield folder


def _write(descriptor: int, content: bytes) -> None:
    os.write(descriptor, content)
    os.close(descriptor)


def test_a_directory_that_is_a_link_is_not_opened(tmp_path: Path, inside: Path) -> None:
    (tmp_path / "link").symlink_to(inside)
    with pytest.raises(NotADirectoryError):
        Folder(tmp_path / "link")


def test_a_new_file_takes_the_place_of_a_link_and_leaves_its_target_alone(
    folder: Folder, inside: Path, outside: Path
) -> None:
    (inside / "a").symlink_to(outside)
    _write(folder.create("a"), b"new")
    assert (outside.read_bytes(), (inside / "a").read_bytes()) == (b"mine", b"new")


def test_links_are_neither_opened_nor_read_nor_measured(folder: Folder, inside: Path, outside: Path) -> None:
    (inside / "a").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        folder.reopen("a")
    assert folder.read_small("a") is None
    assert folder.size_of("a") is None


def test_only_regular_files_have_a_size(folder: Folder, inside: Path) -> None:
    (inside / "directory").mkdir()
    (inside / "file").write_bytes(b"12345")
    assert [folder.size_of(name) for name in ("directory", "file", "nothing")] == [None, 5, None]


def test_publishing_gives_a_name_once(folder: Folder, inside: Path) -> None:
    _write(folder.create("a.part"), b"first")
    folder.publish("a.part", "a")
    _write(folder.create("a.part"), b"second")
    with pytest.raises(FileExistsError):
        folder.publish("a.part", "a")
    assert (inside / "a").read_bytes() == b"first"
    assert (inside / "a.part").read_bytes() == b"second"


def test_a_small_file_is_replaced_in_one_step(folder: Folder, inside: Path) -> None:
    for content in (b"one", b"two"):
        folder.write_small("record", content, durable=content == b"two")
        assert folder.read_small("record") == content
    assert [path.name for path in inside.iterdir()] == ["record"]


def test_a_small_file_that_cannot_be_replaced_leaves_no_draft(folder: Folder, inside: Path) -> None:
    (inside / "record").mkdir()
    with pytest.raises(IsADirectoryError):
        folder.write_small("record", b"one", durable=False)
    assert [path.name for path in inside.iterdir()] == ["record"]


def test_removing_what_is_not_there_is_no_error(folder: Folder) -> None:
    folder.remove("nothing")
    assert folder.free_bytes() > 0

"""Labels: what a url or a caller calls a file, made safe for any disk."""

from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.handlers.download import names as module
from windlass.handlers.download.names import NAME_BYTES, clean, distinct, label


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/pub/a.iso", "a.iso"),
        ("https://example.org/pub/a%20b.iso?x=/y.txt#z/w", "a b.iso"),
        ("https://example.org/pub/", "file_4"),
        ("https://example.org", "file_4"),
        ("https://example.org?x=/a", "file_4"),
        ("https://example.org/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://example.org/%2e%2e", "file_4"),
        ("https://example.org/a%00b%0d%0a.txt", "ab.txt"),
        ("https://example.org/%ff%fe.bin", "\ufffd\ufffd.bin"),
        ("https://example.org/%E2%80%AEgpj.exe", "gpj.exe"),
        ("https://example.org/C%3A%5Cboot.ini", "boot.ini"),
        ("not a url", "file_4"),
    ],
)
def test_a_file_is_called_like_the_last_segment_of_its_url(url: str, name: str) -> None:
    assert label(None, url, 4) == name


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("plain.txt", "plain.txt"),
        ("../x", "x"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x", "x"),
        ("C:\\x", "x"),
        ("C:x", "C_x"),
        ("a\0b", "ab"),
        ("a\r\nb", "ab"),
        ("dir/", "dir"),
        ("..", ""),
        (". . .", ""),
        ("", ""),
        (".htaccess", "htaccess"),
        ("trailing. . ", "trailing"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("com1", "_com1"),
        ("common", "common"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2028b\u200bc", "abc"),
        ("\ud800x", "x"),
        ('a|b<c>d"e?f*g', "a_b_c_d_e_f_g"),
        ("e\u0301", "\u00e9"),
        ("movie.part", "movie_part"),
        ("movie.PART", "movie_PART"),
    ],
)
def test_a_label_keeps_what_is_safe(wanted: str, name: str) -> None:
    assert clean(wanted) == name


def test_a_long_label_is_cut_before_its_extension_at_a_whole_character() -> None:
    cut = clean("ü" * 5000 + ".tar")
    assert cut == "ü" * 73 + ".tar"
    assert len(cut.encode()) == NAME_BYTES
    assert clean("a." + "b" * 5000) == ("a." + "b" * 5000)[:NAME_BYTES]


@given(wanted=st.text(max_size=400))
def test_a_label_is_safe_whatever_it_was_made_of(wanted: str) -> None:
    name = clean(wanted)
    assert len(name.encode()) <= NAME_BYTES
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name == name.strip(". ")
    assert not name.lower().endswith(".part")
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs") for character in name)


@given(
    wanted=st.lists(
        st.sampled_from(["a.iso", "A.iso", "a (1).iso", "\uff41.iso", "ß", "SS", "x" * 150, "X" * 150]), max_size=40
    )
)
def test_no_two_files_of_a_task_share_a_name_on_any_disk(wanted: list[str]) -> None:
    names = distinct(wanted)
    folded = {unicodedata.normalize("NFKC", name).casefold() for name in names}
    assert len(folded) == len(names) == len(wanted)
    assert all(len(name.encode()) <= NAME_BYTES for name in names)
    assert distinct(wanted) == names


def test_thousands_of_one_name_are_numbered_in_their_order() -> None:
    names = distinct(["a.iso"] * 5000)
    assert (names[0], names[1], names[4999]) == ("a.iso", "a (1).iso", "a (4999).iso")

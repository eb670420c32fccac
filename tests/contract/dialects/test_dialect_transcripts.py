"""Every row of the five contracts, as golden transcripts against a real server on every store.

A folder of `transcripts` is a set of settings (`dialect_servers.SETTINGS`), a file in it one dialect under these. All
files of a folder are played to one server: each keeps to its own dialect's tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from dialect_servers import SETTINGS, ask_of, serving, shelf_in
from live import LiveServer
from stores import STORES
from transcript import Answer, Mismatch, Step, compare, play, read_steps

from windlass.config.dialects import NAMES
from windlass.http.routes import DIALECT_ROUTES

TRANSCRIPTS = Path(__file__).parent / "transcripts"
FILES = sorted(TRANSCRIPTS.glob("*/*.http"))


CASES = [((database, path.parent.name), path) for database in STORES for path in FILES]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    database, settings = request.param
    with serving(database, settings, tmp_path_factory.mktemp("dialects")) as running:
        yield running


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shelf_in(tmp_path_factory.mktemp("shelf")) as address:
        yield address


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("server", "path"),
    CASES,
    indirect=["server"],
    ids=[f"{case[0]}-{path.parent.name}-{path.stem}" for case, path in CASES],
)
def test_the_dialect_answers_as_its_contract_says(server: LiveServer, shelf: str, path: Path):
    play(path, partial(ask_of, server), shelf=shelf)


# ── the transcripts themselves ─────────────────────────────────────


def test_every_transcript_is_of_a_dialect_and_of_settings_there_are():
    assert {(path.parent.name, path.stem) for path in FILES} <= {
        (settings, name) for settings in SETTINGS for name in (*NAMES, "common")
    }
    assert {path.stem for path in FILES} == {*NAMES, "common"}


def test_every_route_of_every_dialect_is_in_a_transcript_with_every_status_of_its_own():
    asked = [(step, path) for path in FILES for step in read_steps(path)]
    for route in DIALECT_ROUTES:
        parts = route.path.split("/")
        for status in route.responses:
            assert any(
                step.method == route.method and step.status == status and _fits(parts, step.path) for step, _ in asked
            ), f"{route.method} {route.path} is never answered with {status}"


def _fits(parts: list[str], target: str) -> bool:
    given = target.partition("?")[0].removesuffix("/").split("/")
    return len(given) == len(parts) and all(
        there == part or part == "{id}" for there, part in zip(given, parts, strict=True)
    )


DUE = Step(1, False, "GET", "/x", {}, None, 200, {"allow": "GET"}, '{"id": "{uuid a}", "n": "{whole}", "of": ["{a}"]}')
ID = "01a1fb1e-ac96-77fd-b9c1-f31b812f796b"
CAME = Answer(200, {"allow": "GET", "date": "x"}, b'{"id": "%s", "n": 7, "of": ["%s"]}' % (ID.encode(), ID.encode()))


def test_an_answer_that_fits_is_taken_and_its_names_are_remembered():
    names: dict[str, str] = {}
    compare(DUE, CAME, names)
    assert names["a"] == ID


@pytest.mark.parametrize(
    "came",
    [
        CAME._replace(status=201),
        CAME._replace(headers={}),
        CAME._replace(headers={"allow": "GET, POST"}),
        CAME._replace(body=CAME.body.replace(b'"n": 7, ', b"")),
        CAME._replace(body=CAME.body.replace(b'"n": 7', b'"n": "7"')),
        CAME._replace(body=CAME.body.replace(b'"n": 7', b'"n": 7.5')),
        CAME._replace(body=CAME.body.replace(b'"n": 7', b'"n": true')),
        CAME._replace(body=CAME.body.replace(b'"n": 7', b'"n": 7, "more": 1')),
        CAME._replace(body=CAME.body.replace(b'"of": ["01', b'"of": ["02')),
        CAME._replace(body=CAME.body.replace(b'"of": [', b'"of": [1, ')),
        CAME._replace(body=b"[]"),
    ],
)
def test_an_answer_that_differs_anywhere_is_not_taken(came: Answer):
    with pytest.raises(Mismatch):
        compare(DUE, came, {})

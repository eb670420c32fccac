"""Keys over HTTP: made, shown once, listed, revoked, and when they were used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from access_calls import STRANGER, ask_from, bearer
from http_front import Front, WallClock

from windlass.core.access import AccessScope, digest_of, read_key
from windlass.core.limits import ACCESS_USED_S
from windlass.errors import StoreUnavailable

# ── making and revoking, over HTTP ─────────────────────────────────


def test_a_key_is_made_shown_once_and_works_at_once(front: Front):
    made = front.ask("POST", "/v1/keys", {"name": "laptop", "scopes": ["read", "admin", "read"]})
    assert made.status == 201
    key = made.json["key"]
    assert read_key(key) is not None
    assert made.json["scopes"] == ["read", "admin"]
    assert "everybody needs one" in made.json["notice"]
    assert front.ask("GET", "/v1/keys").status == 401
    listed = front.ask("GET", "/v1/keys", headers=bearer(key))
    assert [row["name"] for row in listed.json["keys"]] == ["laptop"]
    kept = front.kept_keys()[made.json["id"]]
    assert kept.digest == digest_of(key.split("_")[2])
    for secret in (key.split("_")[2], kept.digest.hex()):
        assert secret not in listed.body.decode()
    assert key.split("_")[2] not in repr(kept)
    second = front.ask("POST", "/v1/keys", {"name": "ci", "scopes": ["submit"]}, bearer(key))
    assert (second.status, second.json["notice"]) == (201, None)


@pytest.mark.parametrize("scopes", [["read"], ["submit"], ["operate", "read"]])
def test_the_first_key_must_be_able_to_make_others(front: Front, scopes: list[str]):
    answer = front.ask("POST", "/v1/keys", {"name": "x", "scopes": scopes})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/scopes")
    assert front.kept_keys() == {}
    assert front.ask("GET", "/v1/tasks").status == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["admin"]}, "/name"),
        ({"name": "", "scopes": ["admin"]}, "/name"),
        ({"name": "x" * 201, "scopes": ["admin"]}, "/name"),
        ({"name": "a\nb", "scopes": ["admin"]}, "/name"),
        ({"name": "x"}, "/scopes"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["public"]}, "/scopes/0"),
        ({"name": "x", "scopes": ["root"]}, "/scopes/0"),
        ({"name": "x", "scopes": "admin"}, "/scopes"),
        ({"name": "x", "scopes": ["admin"], "digest": "00"}, "/digest"),
        ({"name": "x", "scopes": ["admin"], "id": "mine"}, "/id"),
    ],
)
def test_a_wrong_key_request_makes_none(front: Front, body: Any, pointer: str):
    answer = front.ask("POST", "/v1/keys", body)
    assert answer.status == 422
    assert pointer in [error["pointer"] for error in answer.json["errors"]]
    assert front.kept_keys() == {}


def test_a_revoked_key_is_refused_from_then_on(front: Front):
    admin, worker = front.make_key("admin"), front.make_key("submit")
    place = f"/v1/keys/{worker.split('_')[1]}"
    assert front.ask("GET", "/v1/tasks", headers=bearer(worker)).status == 200
    first = front.ask("DELETE", place, headers=bearer(admin))
    assert (first.status, first.json["revoked_at"] is not None) == (200, True)
    assert front.ask("GET", "/v1/tasks", headers=bearer(worker)).status == 401
    again = front.ask("DELETE", place, headers=bearer(admin))
    assert again.json["revoked_at"] == first.json["revoked_at"]
    assert front.ask("DELETE", "/v1/keys/nothing", headers=bearer(admin)).status == 404


def test_the_last_key_that_can_make_others_stays(front: Front):
    admin = front.make_key("admin")
    front.make_key("operate")
    place = f"/v1/keys/{admin.split('_')[1]}"
    refused = front.ask("DELETE", place, headers=bearer(admin))
    assert (refused.status, refused.json["code"]) == (409, "last_admin_key")
    other = front.make_key("admin")
    assert front.ask("DELETE", place, headers=bearer(admin)).status == 200
    assert front.ask("GET", "/v1/keys", headers=bearer(other)).status == 200


def test_two_first_keys_at_once_are_one_first_and_one_second(front: Front):
    async def both() -> list[bool]:
        made = await asyncio.gather(*(front.access.create_key("x", [AccessScope.ADMIN]) for _ in range(2)))
        return sorted(key.is_first for key in made)

    assert front.run(both()) == [False, True]


# ── who it was, and when ───────────────────────────────────────────


def test_handlers_are_told_who_asks(front: Front, monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []
    admit = front.access.admit
    monkeypatch.setattr(front.access, "admit", lambda caller, needed: seen.append(admit(caller, needed)) or seen[-1])
    front.ask("GET", "/v1/tasks")
    ask_from(front, STRANGER, "GET", "/healthz")
    key = front.make_key("admin")
    front.ask("GET", "/v1/tasks", headers=bearer(key))
    assert seen == ["loopback", "anonymous", key.split("_")[1]]


def test_the_use_of_a_key_is_written_down_now_and_then(front: Front, monkeypatch: pytest.MonkeyPatch):
    key = front.make_key("admin")
    touched: list[datetime] = []
    touch = front.keys.touch

    async def noted(used: Sequence[tuple[str, datetime]]) -> None:
        touched.extend(at for _, at in used)
        await touch(used)

    monkeypatch.setattr(front.keys, "touch", noted)
    began_at = WallClock().now()
    now = began_at
    monkeypatch.setattr(WallClock, "now", lambda _: now)
    for offset_s in (0, 1, ACCESS_USED_S - 1, ACCESS_USED_S, ACCESS_USED_S + 1):
        now = began_at + timedelta(seconds=offset_s)
        assert front.ask("GET", "/v1/tasks", headers=bearer(key)).status == 200
    front.run(front.access.close())
    assert [at - began_at for at in touched] == [timedelta(0), timedelta(seconds=ACCESS_USED_S)]
    shown = front.ask("GET", "/v1/keys", headers=bearer(key)).json["keys"][0]["used_at"]
    assert msgspec.convert(shown, type(began_at)) == touched[-1]


def test_a_store_that_cannot_note_the_use_keeps_nobody_out(front: Front, monkeypatch: pytest.MonkeyPatch):
    key = front.make_key("admin")

    async def fail(_: object) -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(front.keys, "touch", fail)
    assert front.ask("GET", "/v1/tasks", headers=bearer(key)).status == 200
    front.run(front.access.close())

"""Who may come in: keys, scopes, and what a server without keys does."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from access_calls import STRANGER, WRONG, ask_from, bearer
from http_front import Front, WallClock

from windlass.config.dialects import Dialects
from windlass.contracts.access import Caller
from windlass.core.access import KEY_SCOPES, AccessScope, KeyText, is_allowed, read_key
from windlass.core.limits import AUTH_ADDRESSES, AUTH_FAILURES, AUTH_FAILURES_PER_S
from windlass.engine.access import KeyRing
from windlass.engine.failures import Failures
from windlass.errors import WindlassError
from windlass.http.routes import DIALECT_ROUTES, ROUTES, Route
from windlass.store.memory.keys import MemoryKeys


def path_of(route: Route) -> str:
    return (
        route.path.format(id=1, name="a.txt", queue="default", key_id="0" * 16)
        if "{name:path}" not in route.path
        else "/v1/tasks/1/files/a.txt"
    )


def ids(route: Route) -> str:
    return f"{route.method} {route.path}"


GUARDED = [route for route in ROUTES if route.scope is not AccessScope.PUBLIC]


# ── the walk over the route table ──────────────────────────────────


def test_every_route_declares_who_may_use_it_and_only_what_shows_nothing_is_public():
    assert all(isinstance(route.scope, AccessScope) for route in ROUTES)
    public = {route.path for route in ROUTES if route.scope is AccessScope.PUBLIC and route.dialect is None}
    assert public == {"/healthz", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/style.css", "/"}


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_no_guarded_route_answers_without_the_scope_it_declares(front: Front, route: Route):
    front.make_key("admin")
    path = path_of(route)
    assert front.ask(route.method, path).status == 401
    for scope in KEY_SCOPES:
        answer = front.ask(route.method, path, headers=bearer(front.make_key(scope)))
        if is_allowed([scope], route.scope):
            assert answer.status not in (401, 403), answer
        else:
            assert (answer.status, answer.json["code"]) == (403, "forbidden")
            assert f"scope {route.scope}" in answer.json["detail"]
    assert front.engine.tasks == {}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET"], ids=ids)
def test_head_needs_what_get_needs(front: Front, route: Route):
    front.make_key("admin")
    is_public = route.scope is AccessScope.PUBLIC
    assert (front.ask("HEAD", path_of(route)).status == 401) == (not is_public)


@pytest.mark.parametrize("route", ROUTES, ids=ids)
def test_a_peer_elsewhere_gets_nothing_but_public_routes_from_a_server_without_keys(front: Front, route: Route):
    front.submit()
    answer = ask_from(front, STRANGER, route.method, path_of(route), body=b"{}")
    if route.dialect is not None:
        assert answer.status not in (401, 403)
        return
    if route.scope is AccessScope.PUBLIC:
        assert answer.status in (200, 307)
    else:
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
        assert "windlass key create NAME --scope admin" in answer.json["detail"]
        assert 'auth = "off"' in answer.json["detail"]
    assert len(front.engine.tasks) == 1
    assert front.kept_keys() == {}


@pytest.mark.parametrize("route", DIALECT_ROUTES, ids=ids)
def test_a_dialect_needs_no_key_unless_the_settings_say_so(tmp_path: Path, route: Route):
    for auth, is_open in (("off", True), ("key", False)):
        front = Front(tmp_path, app={"dialects": Dialects(auth=auth)})
        try:
            front.make_key("admin")
            answer = front.ask(route.method, path_of(route), b"{}")
            assert (answer.status != 401) == is_open
            if not is_open:
                assert list(answer.json) == ["error"]
                assert answer.headers["www-authenticate"] == "Bearer"
                key = front.make_key(route.scope)
                assert front.ask(route.method, path_of(route), b"{}", bearer(key)).status not in (401, 403)
        finally:
            front.close()


# ── keys ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("scopes", [["read"], ["submit", "read"], ["operate"], ["admin", "read"]])
def test_a_key_allows_its_scopes_and_those_below(scopes: list[str]):
    highest = max(KEY_SCOPES.index(AccessScope(scope)) for scope in scopes)
    allowed = [scope for scope in KEY_SCOPES if is_allowed(scopes, scope)]
    assert allowed == list(KEY_SCOPES[: highest + 1])
    assert not is_allowed(["superuser"], AccessScope.READ)


def test_a_right_key_gets_in_from_anywhere(front: Front):
    key = front.make_key("admin")
    assert front.ask("GET", "/v1/tasks", headers=bearer(key)).status == 200
    assert ask_from(front, STRANGER, "GET", "/v1/tasks", bearer(key)).status == 200
    assert front.ask("GET", "/v1/tasks", headers={"Authorization": f"bEARER   {key} "}).status == 200


def spoiled(key: str) -> list[str | None]:
    """Give all that looks like `key`, and is none."""
    parsed = read_key(key)
    assert parsed is not None
    flipped = parsed.secret[:-1] + ("0" if parsed.secret[-1] != "0" else "1")
    return [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {WRONG}",
        f"Bearer {KeyText(parsed.id, flipped)}",
        f"Bearer {KeyText('0' * 16, parsed.secret)}",
        f"Bearer {key[:-1]}",
        f"Bearer {key}0",
        f"Bearer {key.upper()}",
        f"Bearer {key}, Bearer {key}",
        f"Bearer {parsed.secret}",
        f"Bearer {'x' * 4000}",
        "Bearer \xff\xfe",
        f"Basic {key}",
        f"Token {key}",
        key,
        'Digest username="admin"',
    ]


def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(front: Front):
    key = front.make_key("admin")
    revoked = front.make_key("admin", name="old")
    front.run(front.access.revoke_key(revoked.split("_")[1]))
    seen: set[str] = set()
    for said in [*spoiled(key), f"Bearer {revoked}"]:
        front.access._failures = Failures()  # how often is not the question here
        answer = front.ask("POST", "/v1/tasks", {"kind": "echo"}, {} if said is None else {"Authorization": said})
        assert answer.status == 401, said
        assert answer.headers["www-authenticate"] == "Bearer"
        seen.add(json.dumps({**answer.json, "request_id": ""}, sort_keys=True))
    assert len(seen) == 1
    assert json.loads(seen.pop())["stored"] == "no"
    assert front.engine.tasks == {}


@pytest.mark.parametrize(
    "query", ["key={key}", "x={key}", "{key}", "access_token=x", "state=queued&access_token=x", "key=%77l{tail}"]
)
@pytest.mark.parametrize("has_header", [True, False])
def test_a_key_in_the_query_is_refused_even_beside_a_right_one(front: Front, query: str, has_header: bool):
    key = front.make_key("admin")
    path = "/v1/tasks?" + query.format(key=key, tail=key[2:])
    answer = front.ask("GET", path, headers=bearer(key) if has_header else {})
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert "URL" in answer.json["detail"]
    assert key not in answer.body.decode()


def test_a_key_in_the_query_is_refused_where_none_is_needed(front: Front):
    assert front.ask("GET", f"/v1/tasks?key={WRONG}").status == 401
    assert front.ask("GET", f"/healthz?key={WRONG}").status == 401
    assert front.ask("GET", "/v1/tasks?key=wl_report_7").status == 200


def test_who_is_not_let_in_is_told_so_before_the_body_is_read(front: Front):
    front.make_key("admin")
    received = front.raw(
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 999999999\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in received


def test_what_is_asked_for_is_not_judged_before_who_asks(front: Front):
    front.make_key("admin")
    assert front.ask("GET", "/v1/tasks?nonsense=1").status == 401
    assert front.ask("GET", "/v1/tasks/no-id").status == 401


# ── a server without keys, and one that lets in everybody ──────────


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_keys_programs_on_this_machine_need_none(front: Front, address: str):
    assert ask_from(front, address, "GET", "/v1/tasks").status == 200
    assert ask_from(front, address, "GET", "/v1/tasks", bearer(WRONG)).status == 200


@pytest.mark.parametrize("address", [STRANGER, "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "0.0.0.0", "::", "", "x"])
def test_without_keys_nobody_else_gets_in(front: Front, address: str):
    assert ask_from(front, address, "GET", "/v1/tasks").status == 401
    assert ask_from(front, address, "GET", "/v1/tasks", bearer(WRONG)).status == 401


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(front: Front, header: str):
    assert front.ask("GET", "/v1/tasks", headers={header: "for=203.0.113.9"}).status == 401
    assert front.ask("GET", "/healthz", headers={header: "for=203.0.113.9"}).status == 200
    key = front.make_key("admin")
    assert front.ask("GET", "/v1/tasks", headers={header: "x", **bearer(key)}).status == 200


def test_nobody_comes_in_before_the_keys_are_read():
    ring = KeyRing(MemoryKeys(), WallClock())
    with pytest.raises(WindlassError, match="takes a key"):
        ring.admit(Caller("127.0.0.1", is_local=True), AccessScope.READ)


def test_auth_off_lets_in_everybody(tmp_path: Any):
    front = Front(tmp_path, auth_off=True)
    try:
        front.make_key("admin")
        assert ask_from(front, STRANGER, "GET", "/v1/tasks").status == 200
        assert front.ask("GET", "/v1/keys").status == 200
    finally:
        front.close()


# ── who guesses ────────────────────────────────────────────────────


def test_who_guesses_is_slowed_down_and_others_are_not(front: Front):
    key = front.make_key("admin")
    statuses = [ask_from(front, STRANGER, "GET", "/v1/tasks", bearer(WRONG)).status for _ in range(AUTH_FAILURES)]
    assert set(statuses) == {401}
    held = ask_from(front, STRANGER, "GET", "/v1/tasks", bearer(WRONG))
    assert (held.status, held.json["code"]) == (429, "too_many_failures")
    assert 1 <= int(held.headers["retry-after"]) <= 1 / AUTH_FAILURES_PER_S
    assert ask_from(front, STRANGER, "GET", "/v1/tasks", bearer(key)).status == 200
    assert ask_from(front, STRANGER, "GET", "/v1/tasks").status == 401
    assert ask_from(front, "192.0.2.8", "GET", "/v1/tasks", bearer(WRONG)).status == 401
    assert ask_from(front, STRANGER, "GET", "/healthz").status == 200


def test_failures_are_forgiven_with_time_and_counted_by_network():
    failures = Failures()
    for _ in range(AUTH_FAILURES):
        assert failures.add("2001:db8::1", now_s=0) == 0
    assert failures.add("2001:db8::ffff", now_s=0) == 1 / AUTH_FAILURES_PER_S
    assert failures.add("2001:db8:0:1::1", now_s=0) == 0
    assert failures.add("2001:db8::1", now_s=1 / AUTH_FAILURES_PER_S) == 0


def test_addresses_that_fail_are_counted_in_bounded_memory():
    failures = Failures()
    for number in range(AUTH_ADDRESSES + 100):
        failures.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", now_s=0)
    assert len(failures._buckets) == AUTH_ADDRESSES


# ── time ───────────────────────────────────────────────────────────


def _medians(samples: int) -> dict[str, float]:
    """Time refusals of each kind, taken in turns so that whatever disturbs the machine disturbs all of them."""
    keys = MemoryKeys()

    async def make() -> tuple[KeyRing, str]:
        ring = KeyRing(keys, WallClock())
        await ring.load()
        return ring, str((await ring.create_key("x", [AccessScope.ADMIN])).text)

    ring, key = asyncio.run(make())
    first = key[:21] + ("0" if key[21] != "0" else "1") + key[22:]
    last = key[:-1] + ("0" if key[-1] != "0" else "1")
    said = {"unknown id": WRONG, "wrong from the first digit": first, "wrong in the last digit": last}
    times: dict[str, list[int]] = {kind: [] for kind in said}
    for _ in range(samples):
        for kind, text in said.items():
            began_at = time.perf_counter_ns()
            assert ring._recognise(text) is None
            times[kind].append(time.perf_counter_ns() - began_at)
    return {kind: statistics.median(taken) for kind, taken in times.items()}


def test_the_time_of_a_refusal_does_not_tell_how_wrong_a_key_is():
    medians = _medians(3_000)
    assert max(medians.values()) < 1.5 * min(medians.values()), medians


@pytest.mark.prove
@pytest.mark.timeout(120)
def test_the_time_of_a_refusal_tells_nothing_over_many_samples():
    medians = _medians(100_000)
    assert max(medians.values()) < 1.15 * min(medians.values()), medians

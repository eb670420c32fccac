"""A walk over the route table: each route is complete, documented, and answers as it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from http_front import Answer, Front

from windlass.contracts.keys import AccessKey
from windlass.core.access import AccessScope
from windlass.core.state import State
from windlass.core.task import Error
from windlass.http.openapi import build_openapi, plain_path
from windlass.http.routes import DIALECT_ROUTES, KEY_ROUTES, QUEUE_ROUTES, ROUTES, SYSTEM_ROUTES, TASK_ROUTES, Route
from windlass.wire.problems import STATUSES


@pytest.fixture(scope="module")
def document() -> Any:
    return build_openapi(ROUTES, version="test")


def _id(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=_id)
def test_every_route_says_what_it_is(route: Route, document: Any):
    assert route.scope in AccessScope
    assert route.summary
    assert not route.summary.endswith(".")
    assert route.responses
    operation = document["paths"][plain_path(route.path)][route.method.lower()]
    assert operation["summary"] == route.summary
    assert operation["x-scope"] == route.scope
    for status, response in route.responses.items():
        said = operation["responses"][str(status)]
        assert said["description"] == response.summary
        if response.media:
            assert "schema" in said["content"][response.media]
    assert ("requestBody" in operation) == (route.request is not None)
    named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    assert named == ({field.name for field in msgspec.structs.fields(route.query)} if route.query else set())


def test_routes_that_change_something_are_no_gets_and_need_more_than_reading():
    for route in (*TASK_ROUTES, *QUEUE_ROUTES, *KEY_ROUTES, *SYSTEM_ROUTES, *DIALECT_ROUTES):
        if route.method != "GET":
            assert route.scope in (AccessScope.SUBMIT, AccessScope.OPERATE, AccessScope.ADMIN), _id(route)
        else:
            assert route.scope in (AccessScope.PUBLIC, AccessScope.READ, AccessScope.ADMIN), _id(route)


def test_no_two_routes_are_one(document: Any):
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ROUTES)


def test_every_reference_of_the_document_leads_somewhere(document: Any):
    text = msgspec.json.encode(document).decode()
    for name in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
        assert name in document["components"]["schemas"]
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )
        assert schema.get("description"), f"{name} is not explained"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.request is not None], ids=_id)
def test_examples_fit_the_schema_of_their_body(route: Route, document: Any):
    operation = document["paths"][plain_path(route.path)][route.method.lower()]
    assert set(operation["requestBody"]["content"]) == set(route.media)
    content = operation["requestBody"]["content"]["application/json"]
    assert ("examples" in content) == bool(route.examples)
    schema = {**content["schema"], "components": document["components"]}
    for example in content.get("examples", {}).values():
        jsonschema_rs.Draft202012Validator(schema).validate(example["value"])


def test_bodies_that_are_not_small_have_examples():
    without = {route.path for route in ROUTES if route.request is not None and not route.examples}
    assert all(path.startswith("/v1/tasks/{id}/") for path in without), without


KEY = AccessKey(
    id="0123456789abcdef",
    name="ci",
    digest=bytes(32),
    scopes=("read",),
    created_at=datetime(2026, 11, 20, tzinfo=UTC),
)


OF = {
    name: f"01a1fb1e-ac96-77fd-b9c1-f31b812f790{index}"
    for index, name in enumerate(("downloads", "workmate", "check_result"))
}
"""Tasks that came through dialects, by their origin."""
GONE = "01a1fb1e-ac96-77fd-b9c1-f31b812f7910"
"""One to be deleted through workmate; of tasktrack's, the last two."""


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with 1 succeeded, with a file, 2 failed, 3 running, 6 held, 7 cancelled, the others queued.

    Each is changed by one request alone, so that their order does not matter. No key is needed.
    """
    front = Front(tmp_path_factory.mktemp("peopled"), auth_off=True)
    front.run(front.keys.add(KEY))
    front.run(front.access.load())
    for _ in range(8):
        front.submit(key=None, tags={"a": "b"}, timeout="5m")
    front.succeed(1, {"rows": 1})
    front.leave_file(1, "a.txt", b"0123456789")
    front.change(2, state=State.FAILED, error=Error(type="E", message="m", traceback="t"))
    front.change(3, state=State.RUNNING)
    front.change(6, held=True)
    front.change(7, state=State.CANCELLED)
    for origin, task_id in OF.items():
        front.take(origin, task_id)
    front.take("workmate", GONE)
    for index in range(4):
        front.take("tasktrack", f"01a1fb1e-ac96-77fd-b9c1-f31b812f792{index}")
    yield front
    front.close()


ASKED = [
    ("POST", "/v1/tasks", {"kind": "echo"}, 202),
    ("POST", "/v1/tasks/batch", {"tasks": [{"kind": "echo"}, {"kind": "echo"}]}, 202),
    ("GET", "/v1/tasks", None, 200),
    ("GET", "/v1/tasks/1", None, 200),
    ("GET", "/v1/tasks/2", None, 200),
    ("POST", "/v1/tasks/3/cancel", {"reason": "x"}, 202),
    ("POST", "/v1/tasks/4/cancel", None, 200),
    ("POST", "/v1/tasks/2/retry", None, 200),
    ("POST", "/v1/tasks/5/hold", None, 200),
    ("POST", "/v1/tasks/6/release", None, 200),
    ("GET", "/v1/tasks/1/result", None, 200),
    ("GET", "/v1/tasks/5/result", None, 202),
    ("GET", "/v1/tasks/1/attempts", None, 200),
    ("GET", "/v1/tasks/1/files", None, 200),
    ("GET", "/v1/tasks/1/files/a.txt", None, 200),
    ("GET", "/v1/keys", None, 200),
    ("POST", "/v1/keys", {"name": "ci", "scopes": ["read", "admin"]}, 201),
    ("DELETE", f"/v1/keys/{KEY.id}", None, 200),
    ("PATCH", "/v1/tasks/8", {"name": "x", "description": None, "tags": {"a": "c"}, "delay": "5m"}, 200),
    ("DELETE", "/v1/tasks/7", None, 204),
    ("POST", "/v1/bulk", {"action": "cancel", "filter": {"queue": "default"}, "dry_run": True}, 200),
    ("GET", "/v1/queues", None, 200),
    ("GET", "/v1/queues/reports", None, 200),
    ("PATCH", "/v1/queues/reports", {"paused": True, "pause_reason": "x", "capacity": None}, 200),
    ("GET", "/v1/stats", None, 200),
    ("GET", "/v1/kinds", None, 200),
    ("GET", "/healthz", None, 200),
    ("GET", "/livez", None, 200),
    ("GET", "/readyz", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/docs", None, 200),
    ("GET", "/docs/style.css", None, 200),
    ("GET", "/", None, 307),
    ("POST", "/tasks", {"urls": ["http://example.org/a.iso"]}, 202),
    ("GET", f"/tasks/{OF['downloads']}", None, 200),
    ("POST", "/task", None, 201),
    ("GET", "/task", None, 200),
    ("GET", f"/task/{OF['workmate']}/status", None, 200),
    ("GET", f"/task/{OF['workmate']}/result", None, 202),
    ("DELETE", f"/task/{GONE}", None, 204),
    ("POST", "/task/create", {"task": "count"}, 201),
    ("GET", f"/task/check-result?task_id={OF['check_result']}", None, 200),
    ("POST", "/enqueue", {"id": "a", "payload": "x"}, 202),
    *(
        asked
        for number, root in ((1, "/api/task"), (2, "/api/task/task"))
        for asked in (
            ("POST", root, {"name": "report"}, 201),
            ("GET", root, None, 200),
            ("GET", f"{root}/{number}", None, 200),
            ("PATCH", f"{root}/{number}", {"description": "of November"}, 200),
            ("DELETE", f"{root}/{number + 2}", None, 204),
        )
    ),
]


def test_every_route_is_asked_here():
    asked = {(method, _template(path)) for method, path, _, _ in ASKED}
    assert asked == {(route.method, plain_path(route.path)) for route in ROUTES}


def _template(path: str) -> str:
    path = re.sub(r"^(/v1/tasks|/api/task(?:/task)?)/\d", r"\1/{id}", path.partition("?")[0])
    for task_id in (*OF.values(), GONE):
        path = path.replace(task_id, "{id}")
    return path.replace("a.txt", "{name}").replace("/reports", "/{queue}").replace(KEY.id, "{key_id}")


def _check_headers(answer: Answer) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-request-id"]
    assert answer.headers["date"]
    assert "server" not in answer.headers


@pytest.mark.parametrize(("method", "path", "body", "status"), ASKED)
def test_every_route_answers_as_it_is_described(
    peopled: Front, document: Any, method: str, path: str, body: Any, status: int
):
    answer = peopled.ask(method, path, body)
    assert answer.status == status
    _check_headers(answer)
    if path != "/docs/style.css":
        assert answer.headers["cache-control"] == "no-store"
    said = document["paths"][_template(path)][method.lower()]["responses"][str(status)]
    for media, content in said.get("content", {}).items():
        assert answer.headers["content-type"].split(";")[0] == media
        if media == "application/json":
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(answer.json)


@pytest.mark.parametrize("path", sorted({path for _, path, _, _ in ASKED}))
def test_head_is_get_without_the_body_and_options_says_what_there_is(peopled: Front, path: str):
    allowed = peopled.ask("OPTIONS", path)
    assert (allowed.status, allowed.body) == (204, b"")
    methods = allowed.headers["allow"].split(", ")
    assert "OPTIONS" in methods
    assert ("GET" in methods) == ("HEAD" in methods)
    if "GET" in methods:
        got, asked = peopled.ask("GET", path), peopled.ask("HEAD", path)
        assert (asked.status, asked.body) == (got.status, b"")
        # How a body is framed that is made while it is sent need not be said of none. Source: RFC 9110 § 9.3.2.
        changing = {"date", "x-request-id", "transfer-encoding"}
        assert {k: v for k, v in asked.headers.items() if k not in changing} == {
            k: v for k, v in got.headers.items() if k not in changing
        }
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - set(methods):
        refused = peopled.ask(method, path)
        assert (refused.status, refused.headers["allow"]) == (405, allowed.headers["allow"])
        _check_headers(refused)


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/tasks/",
        "/v1/tasks/1/",
        "/v1/tasks/1/result/x",
        "/v1/tasks/1/nothing",
        "/v1/tasks%0a",
        "/v1/tasks/1%00",
        "/v1/tasks/1%2F",
        "//v1/tasks",
        "/V1/tasks",
        "/docs/",
        "/docs/docs.css",
        "/static/docs.css",
        "/docs/../docs",
        "/%2e%2e/etc/passwd",
        "/v1/tasks/1/files/..%2f..%2fa.txt",
        "/v1/tasks/1/files/a.txt%00",
        "/v1/tasks/%C0%AE%C0%AE",
        "/v1/tasks;x=1",
        "/openapi.json/",
        "/batch",
    ],
)
def test_what_is_not_there_is_a_problem_and_nothing_else(peopled: Front, path: str):
    answer = peopled.ask("GET", path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    _check_headers(answer)


def test_readiness_says_why_not(front: Front):
    front.engine.problems = ["the app tasks:app has not said hello yet"]
    answer = front.ask("GET", "/readyz")
    assert answer.status == 503
    assert answer.json == {"ready": False, "problems": ["the app tasks:app has not said hello yet"]}
    assert front.ask("GET", "/healthz").body == front.ask("GET", "/livez").body == b"OK"


class _Page(HTMLParser):
    """Collects what a page refers to and what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("href", "src", "action", "srcset"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture(scope="module")
def page(peopled: Front) -> tuple[str, _Page]:
    text = peopled.ask("GET", "/docs").body.decode()
    parsed = _Page()
    parsed.feed(text)
    return text, parsed


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(page: tuple[str, _Page], peopled: Front):
    _, parsed = page
    assert not {"script", "style", "img", "iframe", "form", "object"} & set(parsed.tags)
    assert not {name for name in parsed.attributes if name.startswith("on") or name == "style"}
    assert "lang" in parsed.attributes
    for link in parsed.links:
        if link.startswith("#"):
            assert link[1:] in parsed.ids, link
        else:
            assert link.startswith("/")
            assert peopled.ask("GET", link).status == 200
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_page_shows_every_route_field_and_problem(page: tuple[str, _Page], document: Any):
    text, parsed = page
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["operationId"] in parsed.ids
            for parameter in operation["parameters"]:
                assert f"<code>{parameter['name']}</code>" in text
        assert f"<code>{path}</code>" in text
    for field in document["components"]["schemas"]["SubmitRequest"]["properties"]:
        assert f"<code>{field}</code>" in text
    for code in STATUSES:
        assert f"problem-{code}" in parsed.ids
    assert "curl -s -X POST -H &#x27;Prefer: wait=30&#x27;" in text


def test_the_style_is_small_and_loads_nothing(peopled: Front):
    answer = peopled.ask("GET", "/docs/style.css")
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert b"url(" not in answer.body
    assert b"@import" not in answer.body
    assert b"prefers-color-scheme: dark" in answer.body

"""A page of a download service, served from a port of its own, that has windlass do its work: in a real browser."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from live import running

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = """<!doctype html>
<meta charset="utf-8">
<title>downloads</title>
<textarea id="urls"></textarea>
<button id="go">download</button>
<p id="status"></p>
<ul id="files"></ul>
<script>
const api = new URLSearchParams(location.search).get("api");
const show = (text) => { document.getElementById("status").textContent = text; };
async function poll(id) {
  const task = await (await fetch(`${api}/tasks/${id}`)).json();
  document.getElementById("files").replaceChildren(...task.files.map((file) => {
    const item = document.createElement("li");
    item.textContent = `${file.url} ${file.status}`;
    return item;
  }));
  show(`${task.status} ${task.completed}/${task.total}`);
  if (["pending", "in-progress"].includes(task.status)) setTimeout(() => poll(id), 50);
}
document.getElementById("go").addEventListener("click", async () => {
  const urls = document.getElementById("urls").value.split("\\n");
  try {
    const answer = await fetch(`${api}/tasks`, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({urls}),
    });
    const body = await answer.json();
    if (answer.status === 202) await poll(body.task_id); else show(`${answer.status} ${body.error}`);
  } catch (error) { show(`blocked: ${error}`); }
});
</script>
"""


@pytest.fixture
def page() -> Iterator[Any]:
    """Give a page of the system's browser; without one the test is skipped, but not where all is installed."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain("needs playwright and a Chromium of the system: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """Serve the page, and two files, on a port that is not windlass's."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(PAGE)
    (site / "a.bin").write_bytes(b"a" * 1000)
    (site / "b.bin").write_bytes(b"b" * 1000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def submit(page: Any, origin: str, api: str, *urls: str) -> None:
    page.goto(f"{origin}/index.html?api={api}")
    page.fill("#urls", "\n".join(urls))
    page.click("#go")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_from_another_port_of_this_machine_downloads_and_watches(
    tmp_path: Path, elsewhere: int, page: Any, host: str
):
    files = f"http://127.0.0.1:{elsewhere}"
    with running(tmp_path) as server:
        submit(
            page,
            f"http://{host}:{elsewhere}",
            server.url,
            f"{files}/a.bin",
            "",
            f"{files}/missing.bin",
            f"{files}/b.bin",
        )
        page.wait_for_function("document.getElementById('status').textContent.startsWith('completed')", timeout=30_000)
        assert page.inner_text("#status") == "completed_with_errors 2/3"
        assert page.locator("#files li").all_inner_texts() == [
            f"{files}/a.bin completed",
            f"{files}/missing.bin error",
            f"{files}/b.bin completed",
        ]
        submit(page, f"http://{host}:{elsewhere}", server.url, "  ")
        page.wait_for_function("document.getElementById('status').textContent.startsWith('400')", timeout=30_000)


@pytest.mark.timeout(120)
def test_a_page_from_elsewhere_may_not(tmp_path: Path, elsewhere: int, page: Any):
    with running(tmp_path) as server:
        # The browser is told that the name is this machine; to windlass it is an origin like any other.
        page.route("http://elsewhere.example/**", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        submit(page, "http://elsewhere.example", server.url, f"http://127.0.0.1:{elsewhere}/a.bin")
        page.wait_for_function("document.getElementById('status').textContent.startsWith('blocked')", timeout=30_000)
        assert server.request("GET", "/v1/tasks")[1]["tasks"] == []

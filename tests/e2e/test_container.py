"""The image as its users have it: built from the Dockerfile, run as process 1, named by compose files.

No container engine is needed: buildah builds on a Debian made here, and namespaces do what a container's would.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from live import children, free_port, until

from windlass.config.fields import fields_of
from windlass.config.schema import Settings

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "requirements", "src")
NEEDED = ("apt-get", "buildah", "debootstrap", "ip", "nsenter", "setpriv", "unshare")
IMAGE = "localhost/windlass"
VARIABLES = {field.variable for field in fields_of(Settings).values()}
ELSEWHERE = "192.0.2.1"
"""An address of the container that is not loopback: who calls from it is not on the server's machine."""
BUILD_S = 540.0
pytestmark = pytest.mark.timeout(BUILD_S + 60)
APP = """
import os, subprocess, windlass
app = windlass.App()
@app.task()
def leave_orphans(count: int) -> dict:
    for _ in range(count):
        subprocess.run(["sh", "-c", "setsid sleep 0.1 & exit 0"], check=True)
    return {"uid": os.getuid(), "directory": os.getcwd()}
"""


class Place:
    """Where commands are run."""

    def command(self, *words: str) -> list[str]:
        """Spell the whole command that runs `words` there."""
        raise NotImplementedError

    def __call__(self, *words: str) -> str:
        return tell(*self.command(*words))

    def is_done(self, *words: str) -> bool:
        """Whether it succeeds there."""
        return subprocess.run(self.command(*words), capture_output=True, timeout=60, check=False).returncode == 0


class Builder(Place):
    """Buildah with a storage of its own, which outlives the test: the base is made once, the image once a content."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        assert directory.owner() == "root", f"{directory} belongs to somebody else"

    def command(self, *words: str) -> list[str]:
        """Spell a call of buildah. Nice, since a build keeps a machine busy that others measure on."""
        where = ["--root", str(self._directory / "storage"), "--runroot", str(self._directory / "run")]
        return ["nice", "buildah", "--storage-driver=vfs", *where, *words]

    @contextlib.contextmanager
    def container(self) -> Iterator[str]:
        """Give a container of the image as the sources are now."""
        image = f"{IMAGE}:{content()}"
        # RACE: tests in other processes want the same image: one builds, the others wait for it.
        with (self._directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.is_done("inspect", "--type", "image", image):
                self._build(image)
            container = self("from", "--pull-never", image)
        try:
            yield container
        finally:
            self("rm", container)

    def _build(self, image: str) -> None:
        suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
        base = f"localhost/windlass-base:{suite}"
        if not self.is_done("inspect", "--type", "image", base):
            self._make_base(base, suite)
        for old in self("images", "--quiet", "--filter", f"reference={IMAGE}").split():
            self.is_done("rmi", old)  # not one that is in use
        with tempfile.TemporaryDirectory() as directory:
            how = ["--isolation=chroot", "--format=docker", "--pull-never", "--layers=false"]
            how += [f"--build-arg=BASE={base}", *as_pip_does(Path(directory) / "pip.conf")]
            self("bud", *how, "--tag", image, str(ROOT))

    def _make_base(self, base: str, suite: str) -> None:
        mirror = tell("apt-get", "indextargets", "--format=$(REPO_URI)", "Created-By: Packages", f"Release: {suite}")
        making = "windlass-base-making"
        self.is_done("rm", making)  # one that was cut off
        self("from", "--name", making, "scratch")
        root = self("mount", making)
        how = ["--variant=minbase", "--include=python3,python3-venv,ca-certificates"]
        tell("nice", "debootstrap", *how, suite, root, mirror.split()[0])
        tell("chroot", root, "apt-get", "clean")
        self("commit", "--quiet", "--rm", making, base)


def tell(*words: str) -> str:
    """Run a command that must succeed, and give what it prints."""
    ran = subprocess.run(words, capture_output=True, text=True, timeout=BUILD_S, check=False)
    assert ran.returncode == 0, f"{words} ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-3000:]}"
    return ran.stdout.strip()


def content() -> str:
    """Name the content of all that the image is built from."""
    digest = hashlib.sha256()
    for path in sorted(path for top in BUILT_FROM for path in (ROOT / top, *(ROOT / top).rglob("*"))):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def as_pip_does(config: Path) -> list[str]:
    """Say how pip reaches its index in the build as it does here: by a secret, and by mounts for the build alone."""
    listed = tell(sys.executable, "-m", "pip", "config", "list").splitlines()
    options: dict[str, str] = {}
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):  # the environment wins
        name, _, value = line.partition("=")
        options[name.rpartition(".")[2]] = " ".join(ast.literal_eval(value).split())
    config.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in options.items()), ""]))
    words = [word for value in options.values() for word in value.split()]
    # An index's links lead to files beside it.
    paths = {str(Path(word[7:]).parent) if word.startswith("file://") else word for word in words}
    mounts = [f"--volume={path}:{path}:ro" for path in sorted(paths) if path.startswith("/") and Path(path).exists()]
    return [f"--secret=id=pip,src={config}", *mounts]


class Image:
    """A container of the image that does not run: its files, and what the image says of itself."""

    def __init__(self, builder: Builder, container: str) -> None:
        self.builder = builder
        self.container = container
        self.root = Path(builder("mount", container))
        inspected = json.loads(builder("inspect", "--type", "container", container))
        self.config: dict[str, Any] = inspected["Docker"]["config"]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Give the image; a machine that cannot build it skips, unless it is to test every change."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    why = f"{', '.join(missing)} not installed" if missing else "" if os.geteuid() == 0 else "not root"
    if why:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{why}: no image can be built")
    builder = Builder(Path(tempfile.gettempdir()) / "windlass-container")
    with builder.container() as container:
        yield Image(builder, container)


SETUP = """
set -e
root=$0 volume=$1; shift
mount --bind "$root" "$root"
mount --bind "$volume/data" "$root/data"
mount --bind "$volume/app" "$root/app"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
ip link set lo up
ip address add {elsewhere}/32 dev lo
exec chroot "$root" setpriv --no-new-privs --pdeathsig=KILL "$@"
"""
ASK = """
import http.client, sys
path, source, *key = sys.argv[1:]
headers = {"Authorization": "Bearer " + key[0]} if key else {}
server = http.client.HTTPConnection(source, 8080, timeout=10, source_address=(source, 0))
server.request("GET", path, headers=headers)
print(status := server.getresponse().status)
"""


class Contained(Place):
    """The image in namespaces of its own, as an engine told to take all capabilities and writing would run it."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image = image
        self.log = directory / "log"
        self._directory = directory
        uid, gid = map(int, image.config["User"].split(":"))
        self._enter = ["--mount", "--pid", "--net", "--root", "--wd", f"--setuid={uid}", f"--setgid={gid}"]
        self._become = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--bounding-set=-all"]
        self._environ = ["env", "-i", *image.config["Env"]]
        for name in ("data", "app"):
            (directory / name).mkdir()
        os.chown(directory / "data", uid, gid)
        (directory / "app" / "tasks.py").write_text(APP)

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[Contained]:
        """Run `command`, by default the image's, as process 1; wait until it is ready; leave nothing of it."""
        words = [*self.image.config["Entrypoint"], *(command or self.image.config["Cmd"])]
        there = ["sh", "-c", 'cd "$0" && exec "$@"', self.image.config["WorkingDir"]]
        setup = ["sh", "-c", SETUP.format(elsewhere=ELSEWHERE), str(self.image.root), str(self._directory)]
        inside = [*self._become, *self._environ, *there, *words]
        with ended_with_all([*setup, *inside], self.log, "--mount", "--net", "--ipc", "--uts") as self._process:
            ready = ["python", "-c", ASK + "sys.exit(status != 200)", "/readyz", "127.0.0.1"]
            until(lambda: self.is_done(*ready), "the container is ready", log=self.log)
            yield self

    @property
    def first(self) -> int:
        """Its process 1, by the number that it has outside."""
        found = until(lambda: children(self._process.pid) or self._process.poll() is not None, "there is a process 1")
        assert found is not True, f"it ended with {self._process.returncode}: {self.log.read_text()[-3000:]}"
        return found[0]

    def command(self, *words: str) -> list[str]:
        """Spell a command that runs beside process 1, as that of `docker exec` does."""
        return ["nsenter", f"--target={self.first}", *self._enter, *self._environ, *words]

    def ask(self, path: str, source: str, *key: str) -> int:
        """Send a GET from that address to the same, and give the status of the answer."""
        return int(self("python", "-c", ASK, path, source, *key))

    def is_healthy(self) -> bool:
        """Run the image's health check, as an engine does."""
        return self.is_done(*self.image.config["Healthcheck"]["Test"][1:])

    def state_of(self, task: str) -> str:
        return json.loads(self("windlass", "show", task, "--json"))["state"]

    def signal(self, signum: signal.Signals) -> int:
        """Signal process 1 and give the code that the container ends with."""
        os.kill(self.first, signum)
        return self._process.wait(40)


@contextlib.contextmanager
def ended_with_all(command: list[str], log: Path, *spaces: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as process 1 of a namespace, so that nothing of it outlives the block."""
    with log.open("ab") as output:
        spaces = ("setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--mount-proc", "--fork", "--kill-child", *spaces)
        process = subprocess.Popen([*spaces, *command], stdout=output, stderr=output)
    try:
        yield process
    finally:
        for first in children(process.pid):  # the kernel ends all others before it tells of the end of this one
            os.kill(first, signal.SIGKILL)
        process.wait(40)


def descendants(pid: int) -> dict[int, str]:
    """Name the processes below `pid`, children of all its threads, zombies too."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        for child in map(int, " ".join(task.read_text() for task in tasks).split()):
            found |= {child: Path(f"/proc/{child}/comm").read_text().strip(), **descendants(child)}
    return found


def test_the_image_is_small_has_no_tools_and_runs_as_nobody_in_particular(image: Image):
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["tini", "--", "windlass"]
    assert image.config["Cmd"] == ["serve"]
    assert image.config["Healthcheck"]["Test"][0] == "CMD", "there is no shell to count on"
    environment = image.root / "opt/windlass"
    used = sum(path.lstat().st_size for path in environment.rglob("*") if not path.is_symlink())
    assert used < 120_000_000, f"{used:,} bytes"
    assert not list(environment.glob("lib/python3*/site-packages/pip*"))
    for path in ["source", "tools", "wheels", "root/.cache", "etc/pip.conf", "usr/bin/gcc", "usr/bin/curl"]:
        assert not (image.root / path).exists(), path
    assert {path.lstat().st_uid for path in environment.rglob("*")} == {0}, "it could change its own program"


def test_buildah_runs_it_until_it_is_told_to_stop(image: Image, tmp_path: Path):
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = ["--isolation=chroot", "--env=WINDLASS_HOST=127.0.0.1", f"--env=WINDLASS_PORT={port}"]
    words = [*options, image.container, "--", *image.config["Entrypoint"], *image.config["Cmd"]]
    log = tmp_path / "log"
    with ended_with_all(image.builder.command("run", *words), log) as process:

        def is_ready() -> bool:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return urllib3.request("GET", f"{url}/readyz", retries=False, timeout=5).status == 200
            return process.poll() is not None

        until(is_ready, "the server is ready", log=log)
        [tini] = [pid for pid, name in descendants(process.pid).items() if name == "tini"]
        os.kill(tini, signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()


def test_work_outlives_its_container_which_writes_to_its_volume_alone(image: Image, tmp_path: Path):
    contained = Contained(image, tmp_path)
    with contained.running():
        assert not contained.is_done("touch", "/files/x")  # its own, but the root cannot be written to
        assert contained.is_done("touch", "/data/x")
        task = contained("windlass", "submit", "simulate", "duration_s=600")
        until(lambda: contained.state_of(task) == "running", "the task runs", log=contained.log)
        contained.signal(signal.SIGKILL)
    with contained.running():
        until(lambda: contained.state_of(task) == "running", "the task runs again", log=contained.log)
        contained("windlass", "cancel", task)
        until(lambda: contained.state_of(task) == "cancelled", "the task is gone", log=contained.log)
        assert contained.signal(signal.SIGTERM) == 0
    tell(sys.executable, "-m", "windlass", "check", "--data", str(tmp_path / "data"))


def test_orphans_of_a_handler_do_not_stay_as_zombies(image: Image, tmp_path: Path):
    contained = Contained(image, tmp_path)
    with contained.running("serve", "tasks:app"):
        ended = json.loads(contained("windlass", "submit", "leave_orphans", "count=5", "--wait", "--json"))
        assert ended["result"] == {"uid": 10001, "directory": "/app"}
        until(lambda: "sleep" not in descendants(contained.first).values(), "the orphans are gone")
        assert contained.signal(signal.SIGTERM) == 0


def test_the_health_check_sees_a_server_that_stands_still(image: Image, tmp_path: Path):
    contained = Contained(image, tmp_path)
    with contained.running():
        assert contained.is_healthy()
        [server] = children(contained.first)
        os.kill(server, signal.SIGSTOP)
        assert not contained.is_healthy()
        os.kill(server, signal.SIGCONT)
        until(contained.is_healthy, "it is healthy again")


def test_who_comes_through_a_published_port_needs_a_key_that_is_made_inside(image: Image, tmp_path: Path):
    contained = Contained(image, tmp_path)
    with contained.running():
        assert contained.ask("/readyz", ELSEWHERE) == 200
        assert contained.ask("/v1/tasks", ELSEWHERE) == 401
        assert contained.ask("/v1/tasks", "127.0.0.1") == 200
        key = contained("windlass", "key", "create", "laptop", "--scope", "admin")
        assert contained.ask("/v1/tasks", ELSEWHERE, key) == 200
        assert contained.ask("/v1/tasks", "127.0.0.1") == 401
        assert contained.is_healthy()


def read(lines: list[tuple[int, str]], anchors: dict[str, Any]) -> Any:
    """Read the little YAML that the compose files use, as (indentation, text): mappings, lists of words, anchors."""
    if lines[0][1].startswith("- "):
        return [text.removeprefix("- ").strip('"') for _, text in lines]
    found: dict[str, Any] = {}
    starts = [number for number, (depth, _) in enumerate(lines) if depth == lines[0][0]]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        key, _, value = (part.strip() for part in lines[start][1].partition(":"))
        below = read(lines[start + 1 : end], anchors) if end > start + 1 else value.strip('"')
        if value.startswith("&"):
            anchors[value[1:]] = below
        found |= anchors[value[1:]] if key == "<<" else {key: below}
    return found


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cluster.yaml"])
def test_a_compose_file_fits_the_image_and_the_settings(name: str):
    text = [line for line in (ROOT / name).read_text().splitlines() if line.strip() and line.lstrip()[0] != "#"]
    told = read([(len(line) - len(line.lstrip()), line.strip()) for line in text], {})
    dockerfile = (ROOT / "Dockerfile").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    volumes = [volume for service in told["services"].values() for volume in service["volumes"]]
    assert {volume.partition(":")[0] for volume in volumes} == set(told["volumes"])
    servers = [service for service in told["services"].values() if "build" in service]
    for server in servers:
        assert server["image"] == f"windlass:{version}"
        assert set(server["environment"]) <= VARIABLES
        [port] = server["ports"]
        assert re.fullmatch(rf"127\.0\.0\.1:[0-9]+:{Settings().port}", port), "no key guards it yet"
        targets = {volume.partition(":")[2] for volume in server["volumes"]}
        assert targets == {"/data"} | ({server["environment"].get("WINDLASS_FILES")} - {None})
        assert all(target in dockerfile for target in targets)
        assert server["read_only"] == "true"
        assert float(server["stop_grace_period"].removesuffix("s")) >= Settings().stop_s + 2
    assert len({port for server in servers for port in server["ports"]}) == len(servers)
    assert f"EXPOSE {Settings().port}\n" in dockerfile


def test_the_page_about_deploying_names_settings_that_exist_and_gives_time_to_stop():
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert set(re.findall(r"WINDLASS_[A-Z_]+", page)) <= VARIABLES | {"WINDLASS_KEY"}
    graces = re.findall(r"(?:TimeoutStopSec=|terminationGracePeriodSeconds: |--stop-timeout )([0-9]+)", page)
    assert min(map(int, graces)) >= Settings().stop_s + 2

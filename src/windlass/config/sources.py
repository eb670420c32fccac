"""What each source says: which values for which settings, and what is wrong with the names it uses.

Judges no value and ranks no source; `load` does.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, cast

from windlass.config.borrowed import BORROWED, settings_of
from windlass.config.env_file import parse_lines
from windlass.config.fields import PREFIX, fields_of, sections_of, variable_of
from windlass.config.schema import Settings

_NOT_SETTINGS = frozenset({"WINDLASS_URL", "WINDLASS_KEY", "WINDLASS_KEY_FILE"})
"""Names of ours that other programs read: the client's server address."""

_SHORT = {"dialects": "dialects.enabled"}
"""A value given to a section as a whole is meant for this setting in it."""

# What Kubernetes puts into every container for a Service called `windlass`, or `windlass-` and something.
# Source: the variables of Docker links, and {SERVICE}_SERVICE_HOST and _PORT; `enableServiceLinks: false` turns it off.
_SERVICE_LINK = re.compile(
    r"WINDLASS(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"WINDLASS(_[A-Z0-9]+)*_PORT")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")


class Source(StrEnum):
    """Where a value can come from, the weakest first."""

    DEFAULT = "default"
    TOML = "windlass.toml"
    ENV_FILE = ".env"
    ENVIRONMENT = "environment"
    FLAG = "flag"


class Origin(NamedTuple):
    """Where a value came from: the source, the name the setting has there, and in `.env` the line."""

    source: Source
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        match self.source:
            case Source.DEFAULT | Source.TOML:
                return self.source.value
            case Source.ENV_FILE:
                return f"{self.name} in .env, line {self.line}"
            case Source.ENVIRONMENT:
                return f"{self.name} in the environment"
            case Source.FLAG:
                return "the command line"

    @property
    def is_text(self) -> bool:
        """Whether the source knows text alone, so that a value gets its type from the setting."""
        return self.source in (Source.ENV_FILE, Source.ENVIRONMENT)

    def spell(self, name: str) -> str:
        """Write the dotted name of a setting as this source does."""
        return variable_of(name) if self.is_text else name


class Given(NamedTuple):
    """A value as its source has it."""

    value: object
    origin: Origin


class Problem(NamedTuple):
    """Something that is wrong: with which setting, where that came from, and what to do about it."""

    setting: str
    source: str
    problem: str

    def __str__(self) -> str:
        return f"{self.setting} ({self.source}): {self.problem}" if self.setting else f"{self.source}: {self.problem}"


class Reading:
    """What one source says. `borrowed`: what it says by names of other services, which every name of ours outranks."""

    def __init__(self) -> None:
        self.given: dict[str, Given] = {}
        self.borrowed: dict[str, Given] = {}
        self.problems: list[Problem] = []

    def take(self, path: tuple[str, ...], value: object, origin: Origin) -> None:
        """Note the value if the setting exists; otherwise say which name was probably meant."""
        name = ".".join(path)
        if name in _SHORT and not isinstance(value, dict):
            name = _SHORT[name]
            path = tuple(name.split("."))
        # A name may hold dots of its own (`"workers.solo" = 1`): that is another name than the path.
        is_path = name.count(".") == len(path) - 1
        if is_path and name in fields_of(Settings):
            self.given[name] = Given(value, origin)
        elif is_path and name in sections_of(Settings):
            inner = next(field.name for field in fields_of(Settings).values() if field.section == name)
            self.complain(
                name, origin, f"is a section: give values to the settings in it, such as {origin.spell(inner)}"
            )
        else:
            near = _nearest(name, is_section=isinstance(value, dict))
            hint = f"did you mean {origin.spell(near)}?" if near else "leave it out"
            self.complain(name, origin, f"no setting has this name; {hint}")

    def borrow(self, variable: str, value: str, origin: Origin) -> None:
        """Note what a variable of other services gives."""
        try:
            for name, text in settings_of(variable, value).items():
                self.borrowed[name] = Given(text, origin)
        except ValueError as error:
            self.problems.append(Problem("", str(origin), str(error)))

    def complain(self, name: str, origin: Origin, problem: str) -> None:
        """Note what is wrong."""
        self.problems.append(Problem(name, str(origin), problem))


def read_tree(tree: Mapping[str, object], source: Source) -> Reading:
    """Read settings that are nested as their sections are; None counts as not given."""
    reading = Reading()
    _walk(tree, source, (), reading)
    return reading


def read_toml(path: Path) -> Reading:
    """Read `windlass.toml`, if there is one."""
    reading = Reading()
    try:
        tree = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return reading
    except OSError as error:
        reading.problems.append(_unreadable(path, error))
    except (ValueError, RecursionError) as error:
        reading.problems.append(Problem("", path.name, f"is no TOML: {error}; correct it or remove it"))
    else:
        return read_tree(tree, Source.TOML)
    return reading


def read_environ(environ: Mapping[str, str]) -> Reading:
    """Read the variables that are ours; those that Kubernetes makes of a Service's name are not."""
    reading = Reading()
    for variable in BORROWED:
        if variable in environ:
            reading.borrow(variable, environ[variable], Origin(Source.ENVIRONMENT, variable))
    for variable in sorted(environ):
        value = environ[variable]
        if not _is_ours(variable) or _is_service_link(variable, value):
            continue
        path, origin = _path(variable), Origin(Source.ENVIRONMENT, variable)
        if (earlier := reading.given.get(".".join(path))) is not None:
            reading.complain(".".join(path), origin, f"is set by {earlier.origin.name} too: keep one of them")
        else:
            reading.take(path, value, origin)
    return reading


def read_env_file(path: Path) -> Reading:
    """Read `.env`, if there is one; of lines that name the same setting, the last counts."""
    reading = Reading()
    try:
        # A virtual environment may be called so.
        text = path.read_text("utf-8-sig") if path.is_file() else ""
    except OSError as error:
        reading.problems.append(_unreadable(path, error))
        return reading
    except ValueError as error:
        reading.problems.append(Problem("", path.name, f"is no UTF-8 text: {error}; save it as UTF-8"))
        return reading
    lines = list(parse_lines(text))
    for line in sorted((line for line in lines if line.name in BORROWED), key=lambda line: BORROWED.index(line.name)):
        origin = Origin(Source.ENV_FILE, line.name, line.number)
        if line.problem:
            reading.problems.append(Problem("", str(origin), line.problem))
        else:
            reading.borrow(line.name, line.value, origin)
    for line in lines:
        if not _is_ours(line.name):
            continue
        setting, origin = _path(line.name), Origin(Source.ENV_FILE, line.name, line.number)
        if line.problem:
            reading.complain(".".join(setting), origin, line.problem)
        else:
            reading.take(setting, line.value, origin)
    return reading


def _walk(tree: Mapping[str, object], source: Source, above: tuple[str, ...], reading: Reading) -> None:
    for key, value in tree.items():
        path = (*above, key)
        name = ".".join(path)
        if isinstance(value, dict) and name in sections_of(Settings) and "." not in key:
            _walk(cast("dict[str, object]", value), source, path, reading)
        elif value is not None:
            reading.take(path, cast("object", value), Origin(source, name))


def _nearest(name: str, *, is_section: bool) -> str | None:
    """Find the setting or section that was probably meant, also where its section was left out."""
    names = list(sections_of(Settings) if is_section else fields_of(Settings))
    short = {full.rpartition(".")[2]: full for full in reversed(names)}
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name, short, n=1, cutoff=0.8)
    return short.get(near[0], near[0]) if near else None


def _is_ours(variable: str) -> bool:
    return variable.startswith(PREFIX) and variable not in _NOT_SETTINGS


def _is_service_link(variable: str, value: str) -> bool:
    return bool(
        _SERVICE_LINK.fullmatch(variable) or (_SERVICE_PORT.fullmatch(variable) and _SERVICE_URL.fullmatch(value))
    )


def _path(variable: str) -> tuple[str, ...]:
    name = variable.removeprefix(PREFIX).lower()
    return tuple(_SHORT[name].split(".") if name in _SHORT else name.split("__"))


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem("", path.name, f"cannot be read ({error.strerror}): make it a readable file or remove it")

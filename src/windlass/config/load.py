"""Reads the settings: flags over `WINDLASS_*` over `.env` over `windlass.toml` over defaults.

The only reader of `os.environ`. Decides nothing about what the values mean.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from windlass.config.schema import Section, Settings, validate
from windlass.errors import ConfigError

_PREFIX = "WINDLASS_"
_NOT_SETTINGS = frozenset({"WINDLASS_URL"})
"""Names of ours that other programs read: the client's server address."""

Tree = dict[str, Any]


def load_settings(
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Gather the settings; a flag of None counts as not given.

    Raises:
        ConfigError: a name no setting has (with the nearest one), a value of the wrong type, or a broken rule; says
            where it came from.
    """
    directory = Path.cwd() if directory is None else directory
    environ = os.environ if environ is None else environ
    sources: list[tuple[str, Tree]] = [
        ("windlass.toml", _read_toml(directory / "windlass.toml")),
        (".env", _nest(_read_env_file(directory / ".env"), source=".env")),
        ("the environment", _nest(environ, source="the environment")),
        ("the command line", {name: value for name, value in flags.items() if value is not None}),
    ]
    merged: Tree = {}
    for source, tree in sources:
        _check_names(tree, Settings, source=source, path="")
        _merge(merged, tree)
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        name = where.strip("`").removeprefix("$.") or "a setting"
        origin = _origin(name, sources)
        raise ConfigError(f"{name} ({origin}): {what[:1].lower()}{what[1:]}") from None
    return validate(settings)


def _read_toml(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from None


def _read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value and `#` lines are left out."""
    if not path.is_file():  # a virtual environment may be called so
        return {}
    try:
        text = path.read_text("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from None
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values


def _nest(environ: Mapping[str, str], *, source: str) -> Tree:
    """Turn `WINDLASS_OUTBOUND__ALLOW=a,b` into `{"outbound": {"allow": ["a", "b"]}}`."""
    tree: Tree = {}
    for variable, value in environ.items():
        if not variable.startswith(_PREFIX) or variable in _NOT_SETTINGS:
            continue
        *sections, name = variable.removeprefix(_PREFIX).lower().split("__")
        here: Any = tree
        for section in sections:
            here = here.setdefault(section, {}) if isinstance(here, dict) else None  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        if not isinstance(here, dict) or isinstance(here.get(name), dict):  # pyright: ignore[reportUnknownMemberType]
            path = ".".join([*sections, name])
            raise ConfigError(f"{source} sets {path} beside a name it clashes with: a setting is a value or a section")
        here[name] = _split(value) if _is_list([*sections, name]) else value
    return tree


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _is_list(path: list[str]) -> bool:
    """Whether the setting at `path` is a list, so that commas separate."""
    section: Any = Settings
    for name in path:
        if not (isinstance(section, type) and issubclass(section, Section)):
            return False
        section = get_type_hints(section).get(name)
    return any(get_origin(choice) is list for choice in (section, *get_args(section)))


def _check_names(tree: Tree, section: type[Section], *, source: str, path: str) -> None:
    known = get_type_hints(section)
    for name, value in tree.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {path}{near[0]}?" if near else ""
            raise ConfigError(f"{source} sets {path}{name}, which is no setting of windlass{hint}")
        inner = known[name]
        if isinstance(inner, type) and issubclass(inner, Section):
            if not isinstance(value, dict):
                raise ConfigError(f"{source} sets {path}{name} to a value, but it is a section of settings")
            _check_names(value, inner, source=source, path=f"{path}{name}.")  # pyright: ignore[reportUnknownArgumentType]


def _merge(into: Tree, tree: Tree) -> None:
    for name, value in tree.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)  # pyright: ignore[reportUnknownArgumentType]
        else:
            into[name] = value


def _origin(name: str, sources: list[tuple[str, Tree]]) -> str:
    """Say which source has set `name` last."""
    first = name.split("[", maxsplit=1)[0].split(".")
    for source, tree in reversed(sources):
        here: Any = tree
        for part in first:
            here = here.get(part) if isinstance(here, dict) else None  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        if here is not None:
            return f"from {source}"
    return "from the defaults"

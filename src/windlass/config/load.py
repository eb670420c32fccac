"""Reads the settings: flags over `WINDLASS_*` over `.env` over borrowed names over `windlass.toml` over defaults.

The only reader of `os.environ`. Decides nothing about what the values mean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from windlass.config.fields import fields_of
from windlass.config.schema import Settings, validate
from windlass.config.sources import (
    Given,
    Origin,
    Problem,
    Source,
    read_env_file,
    read_environ,
    read_toml,
    read_tree,
)
from windlass.core.lease import check_times
from windlass.errors import ConfigError

_DEFAULT = Origin(Source.DEFAULT)


class Loaded(NamedTuple):
    """The settings, and where each came from, by its dotted name."""

    settings: Settings
    origins: Mapping[str, Origin]


def load_settings(
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Gather the settings; a flag of None counts as not given.

    Raises:
        ConfigError: as `load_with_origins`.
    """
    return load_with_origins(flags, environ=environ, directory=directory).settings


def load_with_origins(
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Loaded:
    """Gather the settings and where each came from.

    Every name that a source uses must be that of a setting; of the values only those that count are judged.

    Raises:
        ConfigError: says all that is wrong, a line each; `details["problems"]` has it as (setting, source, problem).
    """
    directory = Path.cwd() if directory is None else directory
    readings = (
        read_toml(directory / "windlass.toml"),
        read_env_file(directory / ".env"),
        read_environ(os.environ if environ is None else environ),
        read_tree(flags, Source.FLAG),
    )
    toml, env_file, environment, flagged = readings
    given = toml.given | env_file.borrowed | environment.borrowed
    given |= env_file.given | environment.given | flagged.given
    origins = {name: given[name].origin if name in given else _DEFAULT for name in fields_of(Settings)}
    values, misfits = _convert(given)
    settings = _build(values)
    problems = [
        *(problem for reading in readings for problem in reading.problems),
        *misfits,
        *_broken_rules(settings, origins, unsound={misfit.setting for misfit in misfits}),
    ]
    if problems:
        raise _refusal(problems)
    check_times(settings.stop_times)
    return Loaded(settings, MappingProxyType(origins))


def _convert(given: Mapping[str, Given]) -> tuple[dict[str, Any], list[Problem]]:
    """Give each value its type, and say of those that cannot have it why."""
    values: dict[str, Any] = {}
    misfits: list[Problem] = []
    for name, field in fields_of(Settings).items():
        if name not in given:
            continue
        value, origin = given[name]
        try:
            values[name] = field.parse(str(value)) if origin.is_text else field.check(value)
        except ValueError as error:
            misfits.append(Problem(name, str(origin), str(error)))
    return values, misfits


def _build(values: Mapping[str, Any]) -> Settings:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        here = tree
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value
    return msgspec.convert(tree, Settings)


def _broken_rules(settings: Settings, origins: Mapping[str, Origin], *, unsound: set[str]) -> list[Problem]:
    """Say which rules are broken; those about a setting that could not be read anyway say nothing."""
    problems: list[Problem] = []
    for names, problem in validate(settings):
        if unsound.isdisjoint(names):
            # Of two settings that do not fit, the one that somebody has set is the one to look at.
            name = next((name for name in names if origins[name] != _DEFAULT), names[0])
            problems.append(Problem(name, str(origins[name]), problem))
    return problems


def _refusal(problems: list[Problem]) -> ConfigError:
    lines = [str(problem) for problem in problems]
    if len(lines) > 1:
        lines = [f"the settings have {len(lines)} mistakes:", *(f"  {line}" for line in lines)]
    return ConfigError("\n".join(lines), problems=tuple(problems))

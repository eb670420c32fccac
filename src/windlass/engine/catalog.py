"""The kinds this server knows, and whether a payload fits one. Imports no user code: it has their schemas."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import jsonschema_rs

from windlass.contracts.engine_api import KindStatus
from windlass.core.kind import Kind
from windlass.errors import ConfigError, InputError, NotReadyError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger
from windlass.wire.codec import decode_json

Problem = tuple[str, str, str]

_ECHO_CHARS = 64
_ERRORS_SHOWN = 20
_RETRY_AFTER_S = 1.0

_log = get_logger()


class _Version:
    """One version of a kind, with its schema made ready."""

    def __init__(self, kind: Kind, *, is_live: bool) -> None:
        self.kind = kind
        self.is_live = is_live
        schema = decode_json(kind.schema)
        try:
            jsonschema_rs.validator_for(schema)  # its message may quote the schema, which is no secret
            self._validator = jsonschema_rs.validator_for(schema, mask="this")
        except ValueError as error:
            detail = f"the schema of the kind '{kind.name}' of {kind.app} cannot be used: {str(error).splitlines()[0]}"
            raise ConfigError(detail) from None
        self._fields = _fields(schema)

    def accepts(self, payload: Mapping[str, Any]) -> bool:
        """Whether `payload` breaks no rule of the schema."""
        return self._validator.is_valid(payload)

    def problems(self, payload: Mapping[str, Any]) -> list[Problem]:
        """Name every rule of the schema that `payload` breaks, up to a bound."""
        if self.accepts(payload):
            return []
        found: list[Problem] = []
        for error in self._validator.iter_errors(payload):
            found.extend(self._explain(error))
            if len(found) >= _ERRORS_SHOWN:
                break
        return found[:_ERRORS_SHOWN]

    def _explain(self, error: Any) -> list[Problem]:
        pointer = "/payload" + "".join(f"/{_escape(str(step))}" for step in error.instance_path)
        keyword = error.kind.name
        if keyword == "additionalProperties":
            names = list(error.kind.unexpected)[:_ERRORS_SHOWN]
            is_top = not error.instance_path
            return [(f"{pointer}/{_escape(name)}", "unknown_field", self._unknown(name, is_top)) for name in names]
        if keyword == "required":
            name = str(error.kind.property).strip('"')
            return [(f"{pointer}/{_escape(name)}", "missing_field", f"{self.kind.name} needs '{name}'")]
        if keyword == "anyOf":
            return self._explain_choice(error, pointer)
        return [(pointer, "invalid_value", _cut(str(error.message)))]

    def _explain_choice(self, error: Any, pointer: str) -> list[Problem]:
        """Say what is wrong by the one alternative that takes a value of this type; without one, name the types."""
        types: list[str] = []
        for alternative in error.kind.context:
            wrong = [inner for inner in alternative if inner.kind.name == "type"]
            if not any(inner.instance_path == error.instance_path for inner in wrong):
                return [problem for inner in alternative for problem in self._explain(inner)]
            types += [str(kind) for inner in wrong for kind in _listed(inner.kind.types)]
        return [(pointer, "invalid_value", f"this is none of: {', '.join(dict.fromkeys(types))}")]

    def _unknown(self, name: str, is_top: bool) -> str:
        shown = name[:_ECHO_CHARS]
        if not is_top:
            return f"an object here takes no '{shown}'"
        near = difflib.get_close_matches(shown, self._fields, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; it takes {', '.join(self._fields) or 'no fields'}"
        return f"{self.kind.name} takes no '{shown}'{hint}"


class Catalog:
    """Kinds by name, each in the versions that have been announced, the newest first.

    Concurrency: of one event loop.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, list[_Version]] = {}
        self._elsewhere: frozenset[str] = frozenset()
        """Kinds that workers of other servers know."""

    def load(self, kinds: Sequence[Kind]) -> None:
        """Take in the kinds that the store remembers; `kinds` has the newest version of each first."""
        for kind in kinds:
            self._kinds.setdefault(kind.name, []).append(_Version(kind, is_live=False))

    def follow(self, kinds: Sequence[Kind], *, elsewhere: Iterable[str]) -> None:
        """Take in what other servers have added to the kinds of the store, and which of them live `elsewhere`.

        `kinds` as for `load`. One whose schema cannot be used here is left out.
        """
        self._elsewhere = frozenset(elsewhere)
        for name, listed in groupby(kinds, key=lambda kind: kind.name):
            known = {version.kind: version for version in self._kinds.get(name, ())}
            ours = [version for version in self._kinds.get(name, ()) if version.is_live]
            mine = {(version.kind.app, version.kind.version) for version in ours}
            others = [known.get(kind) or _usable(kind) for kind in listed if (kind.app, kind.version) not in mine]
            if versions := [*ours, *(version for version in others if version is not None)]:
                self._kinds[name] = versions

    def ours(self) -> list[str]:
        """Name the kinds that workers of this server know."""
        return sorted(name for name, versions in self._kinds.items() if any(version.is_live for version in versions))

    def announce(self, app: str, kinds: Sequence[Kind]) -> None:
        """Take in what a worker of `app` has said at its hello: these are its live kinds from now on.

        Raises:
            ConfigError: a kind is another live app's already, or its schema cannot be used; nothing is changed.
        """
        announced = [_Version(kind, is_live=True) for kind in kinds]
        for kind in kinds:
            if owner := self._live_owner(kind.name, besides=app):
                raise ConfigError(
                    f"the kind '{kind.name}' of {app} is {owner}'s already; name it otherwise with "
                    '@app.task("another_name")'
                )
        for versions in self._kinds.values():
            for version in versions:
                version.is_live = version.is_live and version.kind.app != app
        for new in announced:
            others = [
                version
                for version in self._kinds.get(new.kind.name, [])
                if (version.kind.app, version.kind.version) != (app, new.kind.version)
            ]
            self._kinds[new.kind.name] = [new, *others]

    def is_live(self, name: str) -> bool:
        """Whether some live worker knows the kind, here or elsewhere."""
        return name in self._elsewhere or any(version.is_live for version in self._kinds.get(name, ()))

    def queues(self) -> set[str]:
        """Name the queues that tasks of the known kinds go to."""
        return {version.kind.queue for versions in self._kinds.values() for version in versions[:1]}

    def _live_owner(self, name: str, *, besides: str) -> str | None:
        owners = [version.kind.app for version in self._kinds.get(name, ()) if version.is_live]
        return next((owner for owner in owners if owner != besides), None)

    def find(self, name: str, *, all_have_said_hello: bool) -> Kind:
        """Give the newest version of a kind, a live one if there is any.

        Raises:
            NotReadyError: unknown, but an app has not said hello yet.
            InputError: unknown; names the nearest one.
        """
        versions = self._candidates(name)
        if versions:
            return versions[0].kind
        shown = name[:_ECHO_CHARS]
        if not all_have_said_hello:
            raise NotReadyError(
                f"the kind '{shown}' is not known, but not every app has said hello yet; try again",
                retry_after_s=_RETRY_AFTER_S,
            )
        near = difflib.get_close_matches(name, self._kinds, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(self._kinds)) or 'none'}"
        raise InputError(f"there is no kind '{shown}'; {hint}", code="unknown_kind", pointer="/kind")

    def check(self, name: str, payload: Mapping[str, Any]) -> None:
        """See that some live version of the kind accepts `payload`; with none live, the newest decides.

        Raises:
            InputError: none does; names what the newest one finds wrong.
        """
        for version in self._kinds.get(name, ()):
            if version.is_live and version.accepts(payload):
                return
        first: list[Problem] = []
        for version in self._candidates(name):
            problems = version.problems(payload)
            if not problems:
                return
            first = first or problems
        raise InputError.of(tuple(first))

    def statuses(self) -> list[KindStatus]:
        """Describe the newest version of every kind, by name."""
        return [
            KindStatus(kind=self._candidates(name)[0].kind, is_live=self.is_live(name)) for name in sorted(self._kinds)
        ]

    def _candidates(self, name: str) -> list[_Version]:
        """Give the versions that decide: those live here, and the newest of a kind that lives elsewhere or nowhere."""
        versions = self._kinds.get(name, [])
        live = [version for version in versions if version.is_live]
        others = [version for version in versions if not version.is_live]
        return live + others[:1] if name in self._elsewhere else live or others[:1]


def _usable(kind: Kind) -> _Version | None:
    try:
        return _Version(kind, is_live=False)
    except ConfigError as error:
        _log.warning(words.KIND_UNUSABLE, kind=kind.name, app=kind.app, error=error.detail)
        return None


def _cut(message: str) -> str:
    if len(message) <= 3 * _ECHO_CHARS:
        return message
    return f"{message[:_ECHO_CHARS]}…{message[-2 * _ECHO_CHARS :]}"


def _listed(types: Any) -> list[Any]:
    return list(types) if isinstance(types, list | tuple) else [types]  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]


def _escape(step: str) -> str:
    return step[:_ECHO_CHARS].replace("~", "~0").replace("/", "~1")


def _fields(schema: Any) -> list[str]:
    """Name the top-level fields of a schema as msgspec writes it."""
    definition = schema
    if "$ref" in schema:
        definition = schema.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {})
    return list(definition.get("properties", {}))

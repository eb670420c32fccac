"""The app: a user's handlers by kind, with how each is to be run. Imported by workers, never by the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from windlass.app.signature import Signature, read_signature
from windlass.core import limits
from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.ids import is_name
from windlass.core.kind import BUILTIN_APP, BUILTIN_KINDS, Isolation, Kind
from windlass.core.state import Recovery
from windlass.errors import ConfigError, InputError
from windlass.wire.durations import parse_duration

Function = TypeVar("Function", bound=Callable[..., Any])


class Handler(msgspec.Struct, frozen=True):
    """A function with the kind it serves."""

    function: Callable[..., Any]
    signature: Signature
    kind: Kind


class App:
    """A set of handlers. `version` is yours: it is shown with the kinds, so that a deploy can be seen.

    Raises:
        ConfigError: the version is no text.

    Concurrency: fill it while importing; it is read only afterwards.
    """

    def __init__(self, name: str | None = None, *, version: str = "") -> None:
        if not isinstance(version, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"the version of an app is text: write version='{version}'")
        self.name = name
        self.version = version
        self.handlers: dict[str, Handler] = {}

    def task(
        self, name: str | None = None, *, isolation: str | None = None, **options: Any
    ) -> Callable[[Function], Function]:
        """Make a function the handler of the kind `name` (by default its own name).

        `isolation` is "shared" (many attempts in one worker's loop) or "solo" (alone in a worker, which can be killed
        without harm to others); by default `async def` is shared, `def` is solo, and what must not run twice
        (`recovery` "fail" or "hold") is solo.

        The other options are the defaults of the kind's tasks: `queue` ("default"), `timeout` ("15m" or seconds;
        None: none), `grace` (10 s), `max_attempts` (5), `retry` (a `RetryPolicy`), `recovery` ("retry").

        Raises:
            ConfigError: an option or the function's signature cannot be used; names it and the rule.
        """
        if callable(name):
            raise ConfigError("write @app.task() with its parentheses")

        def register(function: Function) -> Function:
            kind = name or getattr(function, "__name__", "")
            if not is_name(kind):
                raise ConfigError(f"'{kind}' cannot name a kind: use 1-64 letters, digits, dots, underscores, hyphens")
            if kind in BUILTIN_KINDS and self.name != BUILTIN_APP:
                raise ConfigError(f"the kind '{kind}' is built in; give yours another name: @app.task(\"my_{kind}\")")
            if kind in self.handlers:
                raise ConfigError(f"the kind '{kind}' has two handlers in one app")
            signature = read_signature(function)
            summary = (function.__doc__ or "").strip().split("\n")[0]
            described = _describe(kind, signature, summary=summary, isolation=isolation, options=options)
            self.handlers[kind] = Handler(function, signature, described)
            return function

        return register

    def kinds(self, *, app: str) -> list[Kind]:
        """Describe all kinds, as those of the app called `app`."""
        return [
            msgspec.structs.replace(handler.kind, app=app, version=self.version) for handler in self.handlers.values()
        ]


class _Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    queue: str = "default"
    timeout: float | str | None = limits.TIMEOUT_S
    grace: float | str = limits.GRACE_S
    max_attempts: int = limits.MAX_ATTEMPTS
    retry: RetryPolicy = DEFAULT_RETRY
    recovery: Recovery = Recovery.RETRY


def _describe(kind: str, signature: Signature, *, summary: str, isolation: str | None, options: dict[str, Any]) -> Kind:
    try:
        # A policy is checked field by field only on its way through plain data.
        chosen = msgspec.convert(msgspec.to_builtins(options), _Options)
    except (TypeError, msgspec.ValidationError) as error:
        raise ConfigError(f"an option of the kind '{kind}' cannot be used: {error}") from None
    if not is_name(chosen.queue):
        raise ConfigError(f"the kind '{kind}' names the queue '{chosen.queue}': use letters, digits, dots, hyphens")
    if not 1 <= chosen.max_attempts <= limits.MAX_ATTEMPTS_MAX:
        raise ConfigError(f"max_attempts of the kind '{kind}' must be from 1 to {limits.MAX_ATTEMPTS_MAX}")
    return Kind(
        name=kind,
        app="",
        version="",
        schema=signature.schema,
        isolation=_isolation(kind, isolation, signature, chosen.recovery),
        summary=summary,
        queue=chosen.queue,
        timeout_s=_seconds(kind, "timeout", chosen.timeout, limits.TIMEOUT_MAX_S) or None,
        grace_s=_seconds(kind, "grace", chosen.grace, limits.GRACE_MAX_S) or 0.0,
        max_attempts=chosen.max_attempts,
        retry=chosen.retry,
        recovery=chosen.recovery,
    )


def _seconds(kind: str, option: str, value: float | str | None, max_s: float) -> float | None:
    try:
        return None if value is None else parse_duration(value, pointer=f"/{option}", max_s=max_s)
    except InputError as error:
        raise ConfigError(f"the {option} of the kind '{kind}' cannot be used: {error}") from None


def _isolation(kind: str, declared: str | None, signature: Signature, recovery: Recovery) -> Isolation:
    if declared is None:
        is_shared = signature.is_async and recovery is Recovery.RETRY
        return Isolation.SHARED if is_shared else Isolation.SOLO
    try:
        return Isolation(declared)
    except ValueError:
        raise ConfigError(f"isolation of the kind '{kind}' is 'shared' or 'solo', not '{declared}'") from None

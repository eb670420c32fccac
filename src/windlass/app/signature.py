"""A handler's parameters as a payload: type hints become a JSON Schema and a decoder.

Runs in the worker alone; the server sees only the schema.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from typing import Any, get_type_hints

import msgspec

from windlass.app.context import AsyncContext, BuiltinContext, Context
from windlass.errors import ConfigError, InputError
from windlass.wire.codec import encode_json

CONTEXT = "ctx"
"""The parameter that receives the context instead of a payload field."""


class Signature(msgspec.Struct, frozen=True):
    """What a handler takes. `context` is the context type it wants, None for none; `schema` is JSON text."""

    schema: bytes
    decoder: msgspec.json.Decoder[Any]
    is_async: bool
    context: type[Context] | type[AsyncContext] | None

    def decode(self, payload: bytes) -> dict[str, Any]:
        """Turn a payload into the keyword arguments of the handler.

        Raises:
            msgspec.ValidationError: the payload does not fit the parameters.
        """
        arguments = self.decoder.decode(payload)
        return {name: getattr(arguments, name) for name in arguments.__struct_fields__}


def read_signature(function: Callable[..., Any]) -> Signature:
    """Read what `function` takes.

    Raises:
        ConfigError: it has parameters that a JSON object cannot fill, or hints that have no schema.
    """
    name = getattr(function, "__name__", repr(function))
    is_async = inspect.iscoroutinefunction(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"the handler {name} is a generator; a handler returns its result")
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (AttributeError, NameError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(f"the type hints of the handler {name} cannot be read: {error}") from None
    fields: list[Any] = []
    context: Any = None
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigError(
                f"the handler {name} takes '{parameter}': a payload is a JSON object, so every parameter must be one "
                "that is passed by its name: no *args, no **kwargs, none before a /"
            )
        if parameter.name == CONTEXT:
            context = _context(name, hints.get(CONTEXT), is_async=is_async)
            continue
        hint = hints.get(parameter.name, Any)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, _default(parameter.default)))
    return _build(name, fields, is_async=is_async, context=context)


def _build(name: str, fields: list[Any], *, is_async: bool, context: Any) -> Signature:
    try:
        payload = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        definitions: dict[str, Any] = {}
        schema = msgspec.json.schema(payload, schema_hook=lambda kind: _foreign_schema(kind, definitions))
        schema.setdefault("$defs", {}).update(definitions)
        decoder = msgspec.json.Decoder(payload, dec_hook=_decode_foreign)
        return Signature(encode_json(schema), decoder, is_async, context)
    except (TypeError, InputError) as error:
        raise ConfigError(f"the parameters of the handler {name} cannot be matched to JSON: {error}") from None


def _default(value: Any) -> Any:
    """Keep a mutable default from being shared between attempts."""
    if type(value) in (list, dict, set):
        return msgspec.field(default_factory=lambda: copy(value))
    return msgspec.field(default=value)


def _context(name: str, hint: Any, *, is_async: bool) -> Any:
    wanted = AsyncContext if is_async else Context
    if hint is None or hint is wanted or (is_async and hint is BuiltinContext):
        return hint or wanted
    kind = "an async def" if is_async else "a def"
    raise ConfigError(f"the handler {name} is {kind}: its ctx is a windlass.{wanted.__name__}, not {hint!r}")


def _is_model(kind: type) -> bool:
    """Whether `kind` is a pydantic model, without importing pydantic."""
    return hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


def _foreign_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if not _is_model(kind):
        raise TypeError(f"{kind!r} has no JSON Schema; use plain types, dataclasses, msgspec or pydantic models")
    schema = kind.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema


def _decode_foreign(kind: Any, value: Any) -> Any:
    try:
        return kind.model_validate(value)
    except ValueError as error:  # pydantic's own error is one
        raise msgspec.ValidationError(str(error)) from None

"""Plain data into shapes, and every rule it breaks named at once.

Knows no requests; the rules themselves stand in the shapes.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from windlass.core import limits
from windlass.errors import InputError
from windlass.wire.codec import echo, pointer_to
from windlass.wire.v1 import NAME_RULE

S = TypeVar("S", bound=msgspec.Struct)

Fault = tuple[str, str, str]
"""A broken rule: JSON Pointer, code, detail."""

FAULTS_MAX: Final = 20
"""LIMIT: more broken rules than this are not looked for."""


def read_struct(value: Any, kind: type[S]) -> S:
    """Read plain data into `kind`.

    Raises:
        InputError: names every field that breaks a rule.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise InputError.of(tuple(find_faults(value, kind))) from None


def read_query(query: bytes, kind: type[S]) -> S:
    """Read the query of a URL into `kind`; numbers are read from text, and nothing may stand twice.

    Raises:
        InputError: names every parameter that breaks a rule.
    """
    if not query:
        return kind()
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InputError("the query is no UTF-8", code="invalid_text") from None
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for name, value in pairs:
        pointer = pointer_to("", name)
        if name in values:
            faults.append((pointer, "repeated_parameter", f"{echo(name)} may be given once"))
        elif len(value.encode()) > limits.PARAMETER_BYTES:
            rule = f"a parameter may have {limits.PARAMETER_BYTES:,} bytes"
            faults.append((pointer, "string_too_long", rule))
        elif "\0" in value:
            faults.append((pointer, "invalid_text", "a parameter cannot hold the character NUL"))
        values[name] = value
    if not faults:
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError:
            faults = find_faults(values, kind, strict=False)
    raise InputError.of(tuple(faults[:FAULTS_MAX]))


def find_faults(value: Any, kind: Any, *, strict: bool = True) -> list[Fault]:
    """Name the rules of `kind` that `value` breaks, the first `FAULTS_MAX`; at least one where it breaks any."""
    faults: list[Fault] = []
    for fault in _faults(value, kind, "", strict):
        faults.append(fault)
        if len(faults) == FAULTS_MAX:
            break
    return faults


def _faults(value: Any, kind: Any, pointer: str, strict: bool) -> Iterator[Fault]:
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        found = False
        if isinstance(value, dict):
            for fault in _faults_inside(value, kind, pointer, strict):  # pyright: ignore[reportUnknownArgumentType]
                found = True
                yield fault
        if not found:
            yield _explain(str(error), kind, pointer, strict)


def _faults_inside(value: dict[str, Any], kind: Any, pointer: str, strict: bool) -> Iterator[Fault]:
    """Look at each field or key by itself: the decoder stops at the first that is wrong."""
    for member in _members(kind):
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            fields = {field.encode_name: field for field in msgspec.structs.fields(member)}
            for name in value:
                if name not in fields:
                    yield pointer_to(pointer, name), "unknown_field", _unknown(name, list(fields))
            for name, field in fields.items():
                if name in value:
                    yield from _faults(value[name], field.type, pointer_to(pointer, name), strict)
                elif field.required:
                    yield pointer_to(pointer, name), "missing_field", f"{echo(name)} is needed"
        elif get_origin(member) is dict:
            key_kind, value_kind = get_args(member)
            for key, item in value.items():
                for at, code, detail in _faults(key, key_kind, pointer_to(pointer, key), strict):
                    yield at, code, f"the name {detail}"
                yield from _faults(item, value_kind, pointer_to(pointer, key), strict)


def _members(kind: Any) -> Iterator[Any]:
    """Give the types that `kind` is a union of, annotations taken off."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _members(get_args(kind)[0])
    elif origin is Union or origin is types.UnionType:
        for member in get_args(kind):
            yield from _members(member)
    else:
        yield kind


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:64], known, n=1)
    if near:
        return f"there is no {echo(name)} here; did you mean '{near[0]}'?"
    return f"there is no {echo(name)} here" + (f"; there are {', '.join(known)}" if known else "")


_PATH = re.compile(r" - at `(?:key` in `)?\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_TYPES = re.compile(r"`([a-z |]+)`")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def _explain(message: str, kind: Any, pointer: str, strict: bool) -> Fault:
    """Turn what the decoder says into a sentence about the field."""
    if path := _PATH.search(message):
        message = message[: path.start()]
        for name, index in _STEP.findall(path.group(1)):
            pointer = pointer_to(pointer, name or index)
    if message.startswith("Invalid enum value"):
        words = [str(word) for member in _members(kind) for word in _words(member)]
        return pointer, "invalid_value", f"must be one of {', '.join(words)}"
    if "matching regex" in message:
        return pointer, "invalid_value", f"must be {NAME_RULE}"
    if "datetime" in message:
        return pointer, "invalid_value", "must be an instant with its offset, for example 2026-11-20T15:00:00Z"
    message, _, got = message.partition(", got ")
    message = _TYPES.sub(_name_types, message.replace("Expected ", "must be ", 1))
    return pointer, "invalid_value", f"{message}, not {_TYPES.sub(_name_types, got)}" if got and strict else message


def _words(kind: Any) -> list[Any]:
    """Give the words of which a value of `kind` is one; none where it is no such kind."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [word.value for word in kind]
    return list(get_args(kind)) if get_origin(kind) is Literal else []


def _name_types(found: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(word, word) for word in found.group(1).split(" | "))

"""The settings of a tree one by one: name, type, default and meaning of each, read off the structs that declare them.

Knows no source of values, and no rule that concerns more than one setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast, get_type_hints

import msgspec
from msgspec import inspect

PREFIX = "WINDLASS_"
_SHOWN_CHARS = 64


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. `name` is dotted (`workers.solo`), `type` its annotation, `shape` what msgspec makes of that."""

    name: str
    type: Any
    shape: inspect.Type
    default: Any
    description: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return variable_of(self.name)

    @property
    def section(self) -> str:
        """The dotted name of the section it is in; empty for the top."""
        return self.name.rpartition(".")[0]

    @property
    def expected(self) -> str:
        """What its values are, in words."""
        return _phrase(self.shape)

    def parse(self, text: str) -> Any:
        """Read a value from text: lists are separated by commas, spaces around values do not count.

        Raises:
            ValueError: it is no value of this setting; says why.
        """
        text = text.strip()
        choices = self.shape.types if isinstance(self.shape, inspect.UnionType) else (self.shape,)
        if text.lower() == "none" and any(isinstance(choice, inspect.NoneType) for choice in choices):
            return None
        if any(isinstance(choice, inspect.ListType) for choice in choices):
            words = [word for part in text.split(",") if (word := part.strip())]
            return self._convert(words, given=text, strict=False)
        if not text:
            raise ValueError(f"is empty, but must be {self.expected}: give it a value, or leave it out")
        return self._convert(text, given=text, strict=False)

    def check(self, value: object) -> Any:
        """Take a value that has a type already.

        Raises:
            ValueError: it is no value of this setting; says why.
        """
        return self._convert(value, given=value, strict=True)

    def _convert(self, value: object, *, given: object, strict: bool) -> Any:
        try:
            return msgspec.convert(value, self.type, strict=strict)
        except msgspec.ValidationError:
            raise ValueError(f"must be {self.expected}, not {_quote(given)}") from None


@cache
def fields_of(section: type[msgspec.Struct]) -> Mapping[str, Field]:
    """Give the settings in `section` and below by their dotted names, in the order in which they are declared."""
    return {field.name: field for field in _walk(section, prefix="")}


@cache
def sections_of(section: type[msgspec.Struct]) -> Mapping[str, str]:
    """Give the sections below `section` by their dotted names, each with what it is about."""
    found: dict[str, str] = {}
    for field in cast("inspect.StructType", inspect.type_info(section)).fields:
        if isinstance(field.type, inspect.StructType):
            found[field.name] = field.type.cls.__doc__ or ""
            found |= {f"{field.name}.{name}": meaning for name, meaning in sections_of(field.type.cls).items()}
    return found


def variable_of(name: str) -> str:
    """Spell the dotted name of a setting or section as a variable.

    >>> variable_of("workers.solo")
    'WINDLASS_WORKERS__SOLO'
    """
    return PREFIX + name.upper().replace(".", "__")


def spell(value: object) -> str:
    """Write a value as it is written in the environment.

    >>> spell(28.0), spell(["a:b", "c:d"]), spell(None), spell(True), spell("x")
    ('28', 'a:b,c:d', 'none', 'true', 'x')
    """
    match value:
        case None | bool():
            return str(value).lower()
        case float():
            return str(value).removesuffix(".0")
        case list():
            return ",".join(spell(item) for item in cast("list[object]", value))
        case _:
            return str(value)


def _walk(section: type[msgspec.Struct], *, prefix: str) -> Iterator[Field]:
    hints = get_type_hints(section, include_extras=True)
    for field in cast("inspect.StructType", inspect.type_info(section)).fields:
        if isinstance(field.type, inspect.StructType):
            yield from _walk(field.type.cls, prefix=f"{prefix}{field.name}.")
            continue
        # Meta with a description is kept as a wrapper around the type; the tests hold every setting to having one.
        meaning = field.type if isinstance(field.type, inspect.Metadata) else inspect.Metadata(field.type)
        notes = cast("dict[str, str]", meaning.extra_json_schema or {})  # pyright: ignore[reportUnknownMemberType]
        yield Field(
            name=f"{prefix}{field.name}",
            type=hints[field.name],
            shape=meaning.type,
            default=field.default_factory() if field.default is msgspec.NODEFAULT else field.default,
            description=notes.get("description", ""),
        )


def _phrase(shape: inspect.Type) -> str:
    match shape:
        case inspect.IntType():
            return f"a whole number{_bounds(shape)}"
        case inspect.FloatType():
            return f"a number{_bounds(shape)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=words):
            return f"one of {', '.join(str(word) for word in words)}"
        case inspect.StrType(min_length=least):
            return "text that is not empty" if least else "text"
        case inspect.ListType(item_type=inspect.LiteralType(values=words)):
            return f"a list out of {', '.join(str(word) for word in words)}"
        case inspect.ListType(item_type=item, min_length=least, max_length=most):
            count = "" if least is None or most is None else f"{least} to {most} "
            return f"a list of {count}" + _phrase(item).removeprefix("a ").replace("number", "numbers", 1)
        case inspect.UnionType(types=choices):
            return ", or ".join(_phrase(choice) for choice in choices)
        case inspect.NoneType():
            return "none"
        case _:
            raise TypeError(f"a setting cannot be a {type(shape).__name__}")


def _bounds(shape: inspect.IntType | inspect.FloatType) -> str:
    if shape.ge is not None and shape.le is not None:
        return f" from {spell(shape.ge)} to {spell(shape.le)}"
    if shape.gt is not None and shape.le is not None:
        return f" above {spell(shape.gt)}, at most {spell(shape.le)}"
    return ""


def _quote(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."

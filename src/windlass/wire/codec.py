"""JSON in and out: strict, canonical, limited. The only place that imports a JSON library.

Knows no fields: what a document must hold is said by the shapes of `v1`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import msgspec

from windlass.core.limits import INTEGER_DIGITS, JSON_DEPTH, JSON_KEYS_PER_OBJECT, JSON_NODES, STRING_BYTES
from windlass.errors import InputError

_ECHO_CHARS: Final = 64
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1

# ── what a look at the bytes can rule out ──────────────────────────
# Each question is answered by C over the whole document, and errs on the side of suspicion alone.

_DIGITS_TO_0 = bytes.maketrans(b"0123456789", b"0" * 10)
_LONG_DIGITS = b"0" * INTEGER_DIGITS
_FLATTEN = bytes.maketrans(b"{}", b"[]")
_TOO_DEEP = b"[" * (JSON_DEPTH + 1)
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_SPACES = b" \t\r\n"
_STRING = re.compile(rb'"[^"]*+"')
_BAD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")

_canonical = msgspec.json.Encoder(order="sorted")
_plain = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def decode_strict(raw: bytes) -> Any:
    """Read JSON that came from outside; nothing in it is guessed, repaired or dropped.

    Raises:
        InputError: `invalid_json` (`details["offset"]` is the byte), `duplicate_key`, `non_finite_number`,
            `too_deep`, `number_out_of_range`, `invalid_text` (NUL, half of a surrogate pair), `too_many_keys`,
            `too_many_values`, `string_too_long`; each with the JSON Pointer of the place where it is known.

    Source: RFC 8259; I-JSON (RFC 7493) for duplicate keys, surrogates and the range of integers.
    """
    if _is_suspect(raw):
        _inspect(raw)
    try:
        value = _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _refuse(raw, error)
    if _may_repeat_keys(raw, value) or _may_hold_too_much(raw):
        _inspect(raw)
    return value


def decode_json(raw: bytes) -> Any:
    """Read JSON that windlass itself has written."""
    return _decoder.decode(raw)


def encode_json(value: Any) -> bytes:
    """Spell data as canonical JSON: keys sorted, no spaces, UTF-8.

    Tuples become arrays; dataclasses, structs, enums and aware instants become what msgspec makes of them.

    Raises:
        InputError: `not_json`, naming what and where: NaN or infinity, a cycle, a key that is no string, half of a
            surrogate pair, more than 64 levels, an integer beyond 64 bits, an object JSON has no form for.
    """
    try:
        raw = _canonical.encode(value)
        # What JSON cannot say, msgspec bends (NaN to null, 1 to "1"): then the way back leads elsewhere.
        if not (_is_deep(raw) or _has_long_digits(raw)) and _decoder.decode(raw) == value:
            return raw
    except (TypeError, ValueError, RecursionError):
        pass  # the walk finds out what is wrong, and where
    return _canonical.encode(_plain_data(value, "", ()))


def encode_view(view: Any) -> bytes:
    """Spell a shape of ours as JSON, fields in their order. Trusted: checks nothing."""
    return _plain.encode(view)


def pointer_to(base: str, key: str | int) -> str:
    """Give the JSON Pointer of `key` below `base`.

    >>> pointer_to("/payload", "a/b~c"), pointer_to("", 0)
    ('/payload/a~1b~0c', '/0')
    """
    return f"{base}/{str(key).replace('~', '~0').replace('/', '~1')}"


def echo(text: str) -> str:
    """Quote input in a message, cut to what may be shown of it."""
    return f"'{text}'" if len(text) <= _ECHO_CHARS else f"'{text[: _ECHO_CHARS - 1]}…'"


# ── suspicion ──────────────────────────────────────────────────────


def _is_suspect(raw: bytes) -> bool:
    """Whether it takes a closer look before the recursive parser may see `raw`."""
    return _is_deep(raw) or _has_long_digits(raw) or (b"\\u" in raw and _BAD_ESCAPE.search(raw) is not None)


def _has_long_digits(raw: bytes) -> bool:
    return _LONG_DIGITS in raw.translate(_DIGITS_TO_0)


def _is_deep(raw: bytes) -> bool:
    """Whether brackets nest deeper than allowed, or do not pair."""
    if raw.count(b"{") + raw.count(b"[") <= JSON_DEPTH:
        return False
    kept = _hide_escapes(raw).translate(None, _NO_STRUCTURE).replace(b'""', b"")
    if b'"' in kept:  # strings with brackets inside
        kept = _STRING.sub(b"", kept)
    kept = kept.translate(_FLATTEN)
    for _ in range(JSON_DEPTH):
        if not kept or _TOO_DEEP in kept:
            break
        kept = kept.replace(b"[]", b"")  # takes away the innermost level, and no more
    return bool(kept)


def _hide_escapes(raw: bytes) -> bytes:
    """Overwrite what could hide where a string ends: every quote left begins or ends one."""
    return raw.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in raw else raw


def _may_repeat_keys(raw: bytes, value: Any) -> bool:
    """Whether `raw`, which reads as `value`, may repeat a key, or have an object with too many."""
    if b"{" not in raw:
        return False
    # Every colon behind a quote ends a key, but for one that begins a string; there are no keys besides.
    bare = _hide_escapes(raw).translate(None, _SPACES)
    if b"\\" not in raw:
        # Nothing is spelled in two ways: what has no key dropped has as many such colons once more.
        again = _plain.encode(value).translate(None, _SPACES)
        colons = bare.count(b'":')
        if colons <= JSON_KEYS_PER_OBJECT and colons == again.count(b'":'):
            return False
    keys = _count_keys(value)
    return bare.count(b'":') != keys and _STRING.sub(b"", bare).count(b":") != keys


def _count_keys(value: Any) -> int:
    """Count the keys of all objects in `value`; -1 when one of them has too many."""
    keys = 0
    stack = [value]
    while stack:
        node = stack.pop()
        kind = type(node)  # pyright: ignore[reportUnknownVariableType]
        if kind is dict:
            if len(node) > JSON_KEYS_PER_OBJECT:
                return -1
            keys += len(node)
            stack.extend(node.values())
        elif kind is list:
            stack.extend(node)
    return keys


def _may_hold_too_much(raw: bytes) -> bool:
    """Whether `raw` may have too many values, or a string too long."""
    if len(raw) > JSON_NODES and raw.count(b",") + raw.count(b"[") + raw.count(b"{") >= JSON_NODES:
        return True
    return len(raw) > STRING_BYTES and max(map(len, _hide_escapes(raw).split(b'"'))) > STRING_BYTES


# ── the closer look ────────────────────────────────────────────────

_TOKEN = re.compile(
    rb"[ \t\r\n]*+(?:([\[{])|([\]}])|([,:])"
    rb'|("[^"\\]*+(?:\\.[^"\\]*+)*+")'
    rb"|(-?[0-9]++)(?![0-9.eE])"
    rb"|(-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|-?NaN|-?Infinity)"
    rb"|(?:true|false|null))",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Frame:
    """An open array or object, and how far it has been read."""

    __slots__ = ("at", "base", "count", "keys")

    def __init__(self, base: str, *, is_object: bool) -> None:
        self.base = base
        self.keys: set[str] | None = set() if is_object else None
        self.count = 0
        self.at: str | None = None  # the key whose value comes next

    def pointer(self) -> str:
        """Where the value that comes next stands."""
        return pointer_to(self.base, self.at if self.at is not None else self.count)


def _inspect(raw: bytes) -> None:
    """Read `raw` token by token and refuse the first thing that breaks a rule; what is no JSON ends the reading.

    LIMIT: about a microsecond a token, and it stops at `JSON_NODES` values and `JSON_DEPTH` levels.

    Raises:
        InputError: as `decode_strict`, `invalid_json` excepted.
    """
    frames: list[_Frame] = []
    position = nodes = 0
    while token := _TOKEN.match(raw, position):
        position = token.end()
        opener, closer, mark, string, integer, decimal = token.groups()
        frame = frames[-1] if frames else None
        if closer or mark:
            if frame is None:
                return
            if closer:
                frames.pop()
            elif mark == b",":
                frame.count, frame.at = frame.count + 1, None
            continue
        if string and frame is not None and frame.keys is not None and frame.at is None:
            if not _take_key(frame, frame.keys, string):
                return
            continue
        pointer = frame.pointer() if frame is not None else ""
        nodes += 1
        if nodes > JSON_NODES:
            _fail("too_many_values", pointer, f"a document may hold {JSON_NODES:,} values")
        if opener:
            if len(frames) == JSON_DEPTH:
                _fail("too_deep", pointer, f"arrays and objects may nest {JSON_DEPTH} deep")
            frames.append(_Frame(pointer, is_object=opener == b"{"))
        elif not _check_scalar(string, integer, decimal, pointer):
            return


def _check_scalar(string: bytes | None, integer: bytes | None, decimal: bytes | None, pointer: str) -> bool:
    """Check a value that holds no others; false when it is no JSON."""
    if string:
        return _read_text(string, pointer) is not None
    if integer:
        # LIMIT: digits are counted first; turning very many into an int takes quadratic time.
        if len(integer) > INTEGER_DIGITS + 1 or not _INT_MIN <= int(integer) <= _INT_MAX:
            _fail("number_out_of_range", pointer, "an integer must fit 64 bits; send larger ones as strings")
    elif decimal and not math.isfinite(float(decimal)):
        _fail("non_finite_number", pointer, "JSON knows no NaN and no infinity, and no number beyond 1.8e308")
    return True


def _take_key(frame: _Frame, keys: set[str], string: bytes) -> bool:
    """Take in a key of an object; false when it is no JSON."""
    key = _read_text(string, frame.base)
    if key is None:
        return False
    if key in keys:
        _fail("duplicate_key", pointer_to(frame.base, key), f"the key {echo(key)} stands twice in one object")
    keys.add(key)
    if len(keys) > JSON_KEYS_PER_OBJECT:
        _fail("too_many_keys", frame.base, f"an object may have {JSON_KEYS_PER_OBJECT:,} keys")
    frame.at = key
    return True


def _read_text(string: bytes, pointer: str) -> str | None:
    """Read a quoted string; None when it is no JSON."""
    try:
        text: str = json.loads(string.decode())
        size = len(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    if size > STRING_BYTES:
        _fail("string_too_long", pointer, f"a string may have {STRING_BYTES:,} bytes, not {size:,}")
    if "\0" in text:
        _fail("invalid_text", pointer, "text cannot hold the character NUL (\\u0000)")
    if _SURROGATE.search(text):
        _fail("invalid_text", pointer, "text cannot hold one half of a surrogate pair (\\ud800 to \\udfff)")
    return text


def _fail(code: str, pointer: str, detail: str) -> NoReturn:
    raise InputError(detail, code=code, pointer=pointer)


_OFFSET = re.compile(r" \(byte (\d+)\)")


def _refuse(raw: bytes, error: Exception) -> NoReturn:
    """Say why `raw` is no JSON, and at which byte."""
    if isinstance(error, msgspec.ValidationError):  # of plain data: a number that is too large
        _inspect(raw)
    what = str(error)
    if not raw.strip(_SPACES):
        offset, what = 0, "it is empty"
    elif raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        offset, what = 0, "it begins with a byte order mark; JSON is UTF-8 without one"
    elif found := _OFFSET.search(what):
        offset, what = int(found.group(1)), what[: found.start()].removeprefix("JSON is malformed: ")
    else:
        offset, what = _text_fault(raw)
    if raw[offset : offset + 3] == b"NaN" or raw[offset : offset + 8] == b"Infinity":
        raise InputError(
            f"JSON knows no NaN and no infinity (byte {offset})", code="non_finite_number", offset=offset
        ) from None
    raise InputError(f"this is no JSON: {what} (byte {offset})", code="invalid_json", offset=offset) from None


def _text_fault(raw: bytes) -> tuple[int, str]:
    """Find what is wrong with a document of which the parser gives no place."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.start, "it is no UTF-8"
    return len(raw), "it ends too early"


# ── data on its way out ────────────────────────────────────────────


def _plain_data(value: Any, pointer: str, above: tuple[int, ...]) -> Any:
    """Give `value` as dicts, lists and scalars, or refuse it, naming what and where. `above`: ids on the way here."""
    match value:
        case None | bool():
            return value
        case str():
            if _SURROGATE.search(value):
                _no_json("text with one half of a surrogate pair", pointer)
            return str.__str__(value)
        case int():
            if not _INT_MIN <= value <= _INT_MAX:
                _no_json("an integer beyond 64 bits; give it as a string", pointer)
            return int(value)
        case float():
            if not math.isfinite(value):
                _no_json(f"{value}, which JSON does not know; give None instead", pointer)
            return float(value)
        case dict() | list() | tuple():
            return _plain_container(value, pointer, above)  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return _plain_object(value, pointer, above)


def _plain_container(value: Any, pointer: str, above: tuple[int, ...]) -> Any:
    if id(value) in above:
        _no_json("data that holds itself", pointer)
    if len(above) == JSON_DEPTH:
        _no_json(f"more than {JSON_DEPTH} levels of arrays and objects", pointer)
    above = (*above, id(value))
    if not isinstance(value, dict):
        return [_plain_data(item, pointer_to(pointer, index), above) for index, item in enumerate(value)]
    plain: dict[str, Any] = {}
    for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(key, str):
            _no_json(f"the key {echo(repr(key))}, which is no string", pointer)  # pyright: ignore[reportUnknownArgumentType]
        if _SURROGATE.search(key):
            _no_json("a key with one half of a surrogate pair", pointer)
        plain[str.__str__(key)] = _plain_data(item, pointer_to(pointer, key), above)
    return plain


def _plain_object(value: Any, pointer: str, above: tuple[int, ...]) -> Any:
    """Turn an object that msgspec has a JSON form for into that form, and look at that."""
    try:
        plain = msgspec.to_builtins(value, order="sorted")
    except (TypeError, ValueError, RecursionError):
        plain = value
    if type(plain) is type(value):
        _no_json(f"an object of type {type(value).__qualname__}", pointer)
    return _plain_data(plain, pointer, above)


def _no_json(what: str, pointer: str) -> NoReturn:
    where = f"at {pointer[:_ECHO_CHARS]}" if pointer else "at the top"
    raise InputError(f"this cannot be kept as JSON: {where} stands {what}", code="not_json", pointer=pointer)

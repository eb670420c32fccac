"""Golden transcripts: what a client sends and gets back, as text that a person reads, compared to the last field.

    > POST /task                     a request; `?` for `>`: asked again until the answer is the one below
    > Origin: http://localhost:1     its headers
    >                                then a blank line and its body, as it is sent
    > not read
    < 201                            the answer: its status,
    < content-type: application/json the headers that matter,
    <                                and its body: JSON is compared as JSON, field by field; no body means none
    < {"id": "{uuid first}", "created_at": "{instant}", "duration": 0}

Between braces stand forms (`FORMS`); one with a name is remembered, and `{first}` is what was remembered. An object
with the field "..." may have fields besides. Lines that begin with `#` are for people.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE_S = 15.0
"""A limit on hanging, not a measure of speed."""

FORMS = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z",
    "digit": r"\d",
    "whole": r"\d+",
    "duration": r"(?:\d+h)?(?:\d+m)?(?:\d+(?:\.\d+)?(?:s|ms|µs))",
    "text": r"[^\n]+",
}
NUMBERS = ("whole", "digit")
"""Forms that, alone in a string, stand for a number."""

_BRACES = re.compile(r"\{(\w+)(?: (\w+))?\}")


class Answer(NamedTuple):
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Step(NamedTuple):
    """A request and the answer that is due; `line` is where it stands."""

    line: int
    is_asked_again: bool
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    status: int
    due_headers: dict[str, str]
    due_body: str


Ask = Callable[[str, str, dict[str, str], bytes | None], Answer]


class Mismatch(AssertionError):
    """The answer is another one."""


def read_steps(path: Path) -> Iterator[Step]:
    """Read a transcript."""
    lines = list(enumerate(path.read_text("utf-8").splitlines(), 1))
    blocks: list[list[tuple[int, str]]] = []
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        assert line[0] in "><?", f"{path.name}:{number}: what is {line!r}?"
        is_first_of_request = line[0] in ">?" and (not blocks or blocks[-1][-1][1][0] == "<")
        if is_first_of_request:
            blocks.append([])
        blocks[-1].append((number, line))
    for block in blocks:
        sent = [line[2:] for _, line in block if line[0] != "<"]
        due = [line[2:] for _, line in block if line[0] == "<"]
        (method, target), (headers, body) = sent[0].split(" ", 1), _split(sent[1:])
        due_headers, due_body = _split(due[1:])
        yield Step(
            line=block[0][0],
            is_asked_again=block[0][1][0] == "?",
            method=method,
            path=target,
            headers=headers,
            body=None if body is None else body.encode(),
            status=int(due[0]),
            due_headers=due_headers,
            due_body=due_body or "",
        )


def _split(lines: list[str]) -> tuple[dict[str, str], str | None]:
    if "" not in lines:
        return dict(line.split(": ", 1) for line in lines), None
    blank = lines.index("")
    return dict(line.split(": ", 1) for line in lines[:blank]), "\n".join(lines[blank + 1 :])


def play(path: Path, ask: Ask, **known: str) -> None:
    """Send what the transcript sends, and see that what comes back is what stands there."""
    names = dict(known)
    for step in read_steps(path):
        where = f"{path.parent.name}/{path.name}:{step.line}: {step.method} {step.path}"
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            target = _fill(step.path, names)
            headers = {name: _fill(value, names) for name, value in step.headers.items()}
            body = None if step.body is None else _fill(step.body.decode(), names).encode()
            answer = ask(step.method, target, headers, body)
            found = dict(names)
            try:
                compare(step, answer, found)
            except Mismatch as mismatch:
                if not step.is_asked_again or time.monotonic() > give_up_at:
                    raise AssertionError(f"{where}: {mismatch}\ncame: {answer}") from None
                time.sleep(0.02)
            else:
                names = found
                break


def _fill(text: str, names: dict[str, str]) -> str:
    return _BRACES.sub(lambda found: names.get(found[1], found[0]), text)


def compare(step: Step, answer: Answer, names: dict[str, str]) -> None:
    _same("the status", step.status, answer.status)
    for name, due in step.due_headers.items():
        if name not in answer.headers:
            raise Mismatch(f"the header {name} is missing")
        _match(f"the header {name}", due, answer.headers[name], names)
    if not step.due_body:
        _same("the body", b"", answer.body)
        return
    try:
        due: Any = json.loads(step.due_body)
    except ValueError:
        _match("the body", step.due_body, answer.body.decode(), names)
    else:
        _walk("", due, json.loads(answer.body), names)


def _walk(at: str, due: Any, came: Any, names: dict[str, str]) -> None:
    if isinstance(due, dict):
        if not isinstance(came, dict):
            raise Mismatch(f"{at or 'the body'} is no object: {came!r}")
        is_open = "..." in due
        fields = {name: value for name, value in due.items() if name != "..."}
        if missing := fields.keys() - came.keys():
            raise Mismatch(f"{at}/{min(missing)} is missing")
        if not is_open and (besides := came.keys() - fields.keys()):
            raise Mismatch(f"{at}/{min(besides)} should not be there")
        for name, value in fields.items():
            _walk(f"{at}/{name}", value, came[name], names)
    elif isinstance(due, list):
        if not isinstance(came, list) or len(came) != len(due):
            raise Mismatch(f"{at or 'the body'} is no list of {len(due)}: {came!r}")
        for index, (item, other) in enumerate(zip(due, came, strict=True)):
            _walk(f"{at}/{index}", item, other, names)
    elif isinstance(due, str) and _is_number(due, names):
        if type(came) is not int:
            raise Mismatch(f"{at} is no whole number: {came!r}")
        _match(at, due, str(came), names)
    elif isinstance(due, str) and isinstance(came, str):
        _match(at, due, came, names)
    else:
        _same(at, due, came)


def _is_number(due: str, names: dict[str, str]) -> bool:
    found = _BRACES.fullmatch(due)
    return found is not None and (found[1] in NUMBERS or names.get(f"#{found[1]}") == "number")


def _match(what: str, due: str, came: str, names: dict[str, str]) -> None:
    pattern, position, numbers = "", 0, []
    for found in _BRACES.finditer(due):
        pattern += re.escape(due[position : found.start()])
        position = found.end()
        form, name = found.groups()
        if form in FORMS:
            pattern += f"(?P<{name}>{FORMS[form]})" if name else f"(?:{FORMS[form]})"
            numbers += [name] if name and form in NUMBERS and found[0] == due else []
        else:
            pattern += re.escape(names[form]) if form in names else re.escape(found[0])
    matched = re.fullmatch(pattern + re.escape(due[position:]), came)
    if matched is None:
        raise Mismatch(f"{what} is {came!r}, not {due!r}")
    names.update(matched.groupdict())
    names.update({f"#{name}": "number" for name in numbers})


def _same(what: str, due: Any, came: Any) -> None:
    if type(due) is not type(came) or due != came:
        raise Mismatch(f"{what} is {came!r}, not {due!r}")

"""How a client of a dialect asks: without pause, noting what it has sent and what came of it, and holding every answer
against the contract.

Knows no dialect, and trusts nothing the server says but its acknowledgements.
"""

from __future__ import annotations

import itertools
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple

import msgspec
import urllib3
from dialect_shapes import Problem, Refusal
from live import LiveServer

PAUSE_S: Final = 0.04
"""Between two steps of a client."""
AWAY_S: Final = 0.25
"""How long a client stays away after it found nobody there."""
NOBODY: Final = 0
"""The status where no server was there to take the request."""
SILENCE: Final = -1
"""The status where the request was sent and no answer came, which says nothing."""
NAME: Final = object()
"""Stands in a body for the name of the task."""

# ── a client ───────────────────────────────────────────────────────


class Answer(NamedTuple):
    """What came back, read; `status` may be NOBODY or SILENCE."""

    status: int
    said: Any = None


class Sent(msgspec.Struct):
    """A task that was asked for: noted before the request is sent, and what came of it."""

    name: str
    """Nobody else has it; given along where the dialect has a place for it."""
    body: dict[str, Any] = {}
    ref: Any = None
    """What the dialect calls the task, once it was acknowledged."""
    may_be_stored: bool = False
    """A request for it was sent whose answer never came."""
    asked_to_delete: bool = False
    """It was deleted, or may have been."""
    is_deleted: bool = False
    ended: str | None = None
    """The last word on it, once that was read."""
    descriptions: set[str] = set()
    """What its description may be: more than one after an edit that nobody has answered."""

    @property
    def outcome(self) -> Literal["ok", "not", "unknown"]:
        """What the client knows of it."""
        if self.ref is not None:
            return "ok"
        return "unknown" if self.may_be_stored else "not"


class DialectClient(ABC):
    """A client of one dialect, for one thread. Its steps are rolled by dice of its own. `answers` counts what came
    back, by status; `pause_s` is how long to wait before the next step.
    """

    dialect: ClassVar[str]
    last_words: ClassVar[tuple[str, ...]]

    def __init__(self, server: LiveServer, seed: int) -> None:
        self.sent: list[Sent] = []
        self.answers: Counter[int] = Counter()
        self.pause_s = PAUSE_S
        self.dice = random.Random(seed)
        self._names = (f"{self.dialect}-{seed}-{number}" for number in itertools.count())
        self._url = server.url
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10))

    @property
    @abstractmethod
    def steps(self) -> Mapping[Callable[[], None], int]:
        """What it may do next, and how often it does."""

    @abstractmethod
    def word_of(self, sent: Sent) -> str | None:
        """Ask how a task stands; None when that was not to be learned."""

    @property
    def answered(self) -> int:
        """How many answers have come."""
        return self.answers.total() - self.answers[NOBODY] - self.answers[SILENCE]

    def step(self) -> None:
        """Do the next thing."""
        choices, weights = zip(*self.steps.items(), strict=True)
        self.dice.choices(choices, weights)[0]()

    def ask(self, method: str, path: str, body: Any = None, *, due: Mapping[int, Any]) -> Answer:
        """Send a request, and see that the answer is one of those that are due: a status, and its body's shape; text
        where that is bytes, no body where it is None.

        A server may always say that it cannot now, with 503 and `Retry-After`.
        """
        data = None if body is None else msgspec.json.encode(body)
        try:
            came = self._pool.request(method, self._url + path, body=data)
        except urllib3.exceptions.NewConnectionError:
            return self._count(Answer(NOBODY))
        except urllib3.exceptions.HTTPError:
            return self._count(Answer(SILENCE))
        what = f"{method} {path} {data}: {came.status} {came.data[:1000]}"
        if came.status == 503:
            assert int(came.headers.get("Retry-After", "0")) >= 1, f"{what}: when to come again?"
        due = {503: Refusal, **due}
        assert came.status in due, f"{what}: due was {sorted(due)}"
        shape = due[came.status]
        if shape is not None:
            media_type = "application/problem+json" if shape is Problem else "application/json"
            media_type = "text/plain" if isinstance(shape, bytes) else media_type
            assert came.headers["Content-Type"].startswith(media_type), f"{what}: {came.headers}"
        return self._count(Answer(came.status, _read(came.data, shape, what)))

    def submit(self, sent: Sent, path: str, *, taken: Mapping[int, Any]) -> Answer:
        """Ask for a task, for the first time or again."""
        answer = self.ask("POST", path, sent.body or None, due=taken)
        if answer.status == SILENCE:
            sent.may_be_stored = True
        return answer

    def new(self, **body: Any) -> Sent:
        """Note that a task is going to be asked for; `body` may say NAME for its name."""
        name = next(self._names)
        sent = Sent(name, {field: name if value is NAME else value for field, value in body.items()})
        self.sent.append(sent)
        return sent

    def known(self) -> Sent | None:
        """Choose an acknowledged task that nobody has asked to delete; the newest are of most interest."""
        found = [sent for sent in self.sent[-200:] if sent.ref is not None and not sent.asked_to_delete]
        return self.dice.choice(found[-20:] if self.dice.random() < 0.7 else found) if found else None

    def look(self) -> None:
        """See how a task stands; once it has ended it stands so for ever."""
        if (sent := self.known()) is None or (word := self.word_of(sent)) is None:
            return
        assert sent.ended in (None, word), f"{sent} was {sent.ended}, and is {word}"
        if word in self.last_words:
            sent.ended = word

    def delete(self, sent: Sent, path: str, *, again: str) -> None:
        """Delete a task; from then on it is not found at `again`."""
        status = self.ask("DELETE", path, due={204: None}).status
        sent.is_deleted = status == 204
        sent.asked_to_delete = status in (204, SILENCE)
        if sent.is_deleted:
            self.stray("GET", again, 404, "task not found")

    def stray(self, method: str, path: str, status: int, error: str | None = None, body: Any = None) -> None:
        """Ask for what is not to be had, and see it refused."""
        answer = self.ask(method, path, body, due={status: Refusal})
        if error is not None and answer.status == status:
            assert answer.said.error == error, f"{method} {path}: {answer}"

    def _count(self, answer: Answer) -> Answer:
        self.answers[answer.status] += 1
        self.pause_s = AWAY_S if answer.status == NOBODY else PAUSE_S
        return answer


def _read(data: bytes, shape: Any, what: str) -> Any:
    if shape is None:
        assert data == b"", what
        return None
    if isinstance(shape, bytes):
        assert data == shape, what
        return None
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.DecodeError as fault:
        raise AssertionError(f"{what}: {fault}") from None


def check_list(sent: Iterable[Sent], seen: list[Any]) -> None:
    """See that a list has what was acknowledged, nothing that was deleted, and nothing twice."""
    known = {one.ref for one in sent if one.ref is not None and not one.asked_to_delete}
    gone = {one.ref for one in sent if one.is_deleted}
    assert known <= set(seen), f"lost from the list: {known - set(seen)}"
    assert gone.isdisjoint(seen), f"deleted, and in the list: {gone & set(seen)}"
    assert len(seen) == len(set(seen)), "listed twice"

"""What a download is asked for: its payload read, its files named, its headers checked. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

import msgspec

from windlass.core.limits import KIB
from windlass.errors import InputError
from windlass.handlers.download.digest import PATTERN
from windlass.handlers.download.names import distinct, label

FILES = 5_000
"""LIMIT: files of one task; keeps its result and its checkpoint under a mebibyte each."""
HEADER_BYTES = 8 * KIB

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
OnError = Literal["continue", "stop"]


class FileRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file as the payload asks for it. `digest` is `algorithm:hex`; `max_bytes` bounds what is received."""

    url: Text
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    digest: Annotated[str, msgspec.Meta(pattern=PATTERN)] | None = None
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None


Files = Annotated[list[Text | FileRequest], msgspec.Meta(min_length=1, max_length=FILES)]


class FilePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One file to fetch. `name` is its path in the task's directory; `shown_url` is the url without secrets.

    `fingerprint` names the url in what is kept on disk, where the url itself does not belong.
    """

    index: int
    url: str
    name: str
    digest: str | None = None
    max_bytes: int | None = None

    @property
    def shown_url(self) -> str:
        """The url as it may be shown: a user and password are masked."""
        return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@", r"\1***@", self.url)

    @property
    def fingerprint(self) -> str:
        """A name for the url that tells nothing of it."""
        return hashlib.sha256(self.url.encode("utf-8", "surrogatepass")).hexdigest()


def plan_files(files: list[str | FileRequest]) -> list[FilePlan]:
    """Give every file its distinct name; the same payload always gives the same names."""
    requests = [FileRequest(url=file) if isinstance(file, str) else file for file in files]
    names = distinct(label(request.name, request.url, index) for index, request in enumerate(requests))
    return [
        FilePlan(
            index=index,
            url=request.url,
            name=name,
            digest=None if request.digest is None else request.digest.lower(),
            max_bytes=request.max_bytes,
        )
        for index, (request, name) in enumerate(zip(requests, names, strict=True))
    ]


_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "range", "te", "trailer",
        "transfer-encoding", "upgrade", "want-repr-digest",
    }
)  # fmt: skip


def check_headers(headers: dict[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Check the caller's headers; the message names a header but never its value.

    Raises:
        InputError: `header_not_allowed`; one is malformed, or belongs to the connection and is windlass's to set.
    """
    checked: list[tuple[str, str]] = []
    for name, value in (headers or {}).items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", name):
            raise _refuse_header("a header's name must be made of letters, digits and hyphens")
        if name.lower() in _OURS or name.lower().startswith(("proxy-", "if-")):
            raise _refuse_header(f"the header {name} is set by windlass and cannot be given")
        if not value.strip() or not re.fullmatch(r"[\x20-\x7e\t]*", value):
            raise _refuse_header(f"the value of the header {name} must be printable ASCII, and not empty")
        checked.append((name, value.strip()))
    if sum(len(name) + len(value) for name, value in checked) > HEADER_BYTES:
        raise _refuse_header(f"the headers are larger than {HEADER_BYTES:,} bytes together")
    return tuple(checked)


def _refuse_header(detail: str) -> InputError:
    return InputError(detail, code="header_not_allowed", pointer="/headers")

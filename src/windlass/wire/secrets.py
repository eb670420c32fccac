"""What of a payload is not shown: headers of outbound requests, users, passwords and tokens in their urls.

Changes nothing that is stored.
"""

from __future__ import annotations

import re
from typing import Any

from windlass.wire.codec import decode_json, encode_view

MASK = "***"
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")
_SECRET_QUERY = re.compile(
    r"([?&;][a-z0-9._-]*"
    r"(?:auth|authorization|credential|jwt|key|passphrase|passwd|password|pwd|secret|session|sig|signature|token)"
    r"=)[^&;#]*",
    re.ASCII | re.IGNORECASE,
)
"""Parameters whose name ends in what is secret, such as `access_token`, `apiKey` and `X-Amz-Signature`."""


def mask_payload(kind: str, payload: bytes) -> bytes:
    """Give the payload of a task of `kind` as it may be shown; canonical JSON in and out."""
    if kind == "http":
        return _mask_call(payload)
    if kind != "download" or (b'"headers"' not in payload and b"@" not in payload):
        return payload
    shown = decode_json(payload)
    if isinstance(headers := shown.get("headers"), dict):
        shown["headers"] = dict.fromkeys(headers, MASK)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(files := shown.get("files"), list):
        shown["files"] = [_mask_file(file) for file in files]  # pyright: ignore[reportUnknownVariableType]
    return encode_view(shown)


def mask_url(url: str) -> str:
    """Give the url of a call as it may be shown: user and password masked, and what its query calls a secret."""
    return _SECRET_QUERY.sub(rf"\1{MASK}", _mask_url(url))


def _mask_call(payload: bytes) -> bytes:
    if b'"headers"' not in payload and b"@" not in payload and b"=" not in payload:
        return payload
    shown = decode_json(payload)
    if isinstance(headers := shown.get("headers"), dict):
        shown["headers"] = dict.fromkeys(headers, MASK)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(url := shown.get("url"), str):
        shown["url"] = mask_url(url)
    return encode_view(shown)


def _mask_file(file: Any) -> Any:
    if isinstance(file, str):
        return _mask_url(file)
    if isinstance(file, dict) and isinstance(url := file.get("url"), str):  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        return {**file, "url": _mask_url(url)}  # pyright: ignore[reportUnknownVariableType]
    return file  # pyright: ignore[reportUnknownVariableType]


def _mask_url(url: str) -> str:
    return _USERINFO.sub(rf"\1{MASK}@", url)

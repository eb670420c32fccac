"""Keys over HTTP: list, make, revoke. Shows a secret once, in the answer that makes it."""

from __future__ import annotations

import msgspec

from windlass.contracts.keys import AccessKey
from windlass.core.access import AccessScope
from windlass.http.call import Call
from windlass.http.reply import Reply, json_reply
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger
from windlass.wire.v1 import KeyList, KeyRequest, KeyView, view_new_key

_log = get_logger()


async def page(call: Call) -> Reply:
    """List all keys."""
    return json_reply(200, KeyList(keys=[_view(key) for key in call.services.access.list_keys()]))


async def create(call: Call) -> Reply:
    """Make a key."""
    request = await call.struct(KeyRequest)
    scopes = [AccessScope(scope) for scope in request.scopes]
    made = await call.services.access.create_key(request.name, scopes)
    _log.info(words.KEY_CREATED, key=made.key.id, name=request.name, scopes=request.scopes, by=call.principal)
    return json_reply(201, view_new_key(_view(made.key), str(made.text), is_first=made.is_first))


async def revoke(call: Call) -> Reply:
    """Revoke a key."""
    key = await call.services.access.revoke_key(call.parameter("key_id"))
    _log.info(words.KEY_REVOKED, key=key.id, name=key.name, by=call.principal)
    return json_reply(200, _view(key))


def _view(key: AccessKey) -> KeyView:
    return msgspec.convert(key, KeyView, from_attributes=True)  # has no place for the digest

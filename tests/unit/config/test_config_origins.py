"""Where each setting came from."""

from __future__ import annotations

from typing import Any

import pytest
from load_cases import LoadWithOrigins

from windlass.config.fields import fields_of
from windlass.config.schema import Settings
from windlass.config.sources import Origin, Source

GIVEN: dict[str, Any] = {
    "flags": {"host": "::1", "workers": {"solo": 3}, "apps": None},
    "environ": {"WINDLASS_HOST": "h", "WINDLASS_PORT": "1", "WINDLASS_OUTBOUND__ALLOW": ""},
    "env": "# ours\nWINDLASS_PORT=2\nWINDLASS_DATA=a\n\nWINDLASS_DATA=b\nWINDLASS_workers__NICE=1\n",
    "toml": 'data = "c"\nstop_s = 30\n[workers]\nsolo = 1\nnice = 2\nhello_s = 5\n',
}


@pytest.mark.parametrize(
    ("name", "origin", "text"),
    [
        ("host", Origin(Source.FLAG, "host"), "the command line"),
        ("workers.solo", Origin(Source.FLAG, "workers.solo"), "the command line"),
        ("port", Origin(Source.ENVIRONMENT, "WINDLASS_PORT"), "WINDLASS_PORT in the environment"),
        (
            "outbound.allow",
            Origin(Source.ENVIRONMENT, "WINDLASS_OUTBOUND__ALLOW"),
            "WINDLASS_OUTBOUND__ALLOW in the environment",
        ),
        ("data", Origin(Source.ENV_FILE, "WINDLASS_DATA", 5), "WINDLASS_DATA in .env, line 5"),
        (
            "workers.nice",
            Origin(Source.ENV_FILE, "WINDLASS_workers__NICE", 6),
            "WINDLASS_workers__NICE in .env, line 6",
        ),
        ("stop_s", Origin(Source.TOML, "stop_s"), "windlass.toml"),
        ("workers.hello_s", Origin(Source.TOML, "workers.hello_s"), "windlass.toml"),
        ("apps", Origin(Source.DEFAULT), "default"),
        ("downloads.redirects", Origin(Source.DEFAULT), "default"),
    ],
)
def test_a_setting_knows_the_source_that_has_won_and_its_name_there(
    load_both: LoadWithOrigins, name: str, origin: Origin, text: str
):
    found = load_both(**GIVEN).origins[name]
    assert found == origin
    assert str(found) == text


def test_every_setting_has_an_origin_in_the_order_of_the_schema(load_both: LoadWithOrigins):
    assert list(load_both().origins) == list(fields_of(Settings))
    assert {str(origin) for origin in load_both().origins.values()} == {"default"}


def test_a_value_that_equals_the_default_still_comes_from_where_it_was_set(load_both: LoadWithOrigins):
    assert load_both(toml="port = 8080\n").origins["port"].source is Source.TOML

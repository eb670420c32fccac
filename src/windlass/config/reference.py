"""The reference of all settings as Markdown: `python -m windlass.config.reference > docs/settings.md`.

Says of a setting only what the schema says of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from windlass.config.fields import Field, fields_of, sections_of, spell
from windlass.config.schema import Settings
from windlass.core.limits import GIB, MIB

_PROSE = """\
# Settings

<!-- Made by `python -m windlass.config.reference > docs/settings.md`; change src/windlass/config instead. -->

`windlass config show --origin` shows the settings that `windlass serve` would use in the present directory, and where
each value comes from.

## Where values come from

The first of these that has a value for a setting wins; a list replaces the whole list of a weaker source.

1. Flags of `windlass serve` (`--port 9000`); not every setting has one, see `windlass serve --help`.
2. Variables of the environment (`WINDLASS_PORT=9000`).
3. `.env` in the present directory, with the same names.
4. Variables that other services read, in the environment or `.env` (below).
5. `windlass.toml` in the present directory.
6. The default.

The server starts only when every setting is right. Otherwise it says all that is wrong at once, each with the setting,
where the value came from, and what to do: names that no setting has, in any source; values of another type or outside
their bounds; files that cannot be read. A value that a stronger source overrides is not judged.

## Variables

A variable is `WINDLASS_` and the name of the setting, with two underscores where the name has a dot: `workers.solo` is
`WINDLASS_WORKERS__SOLO`. Every value is text and is read as its setting is meant:

| setting | written |
|---|---|
| number | `8080`, `1.5`, without a unit |
| true or false | `true`, `false`, `1`, `0`, in upper or lower case |
| list | separated by commas: `tasks:app, more:app`; empty for a list with nothing in it |
| may be none | `none` |

White space around a value or an item of a list does not count. An empty value (`WINDLASS_PORT=`) is refused for
anything but a list: leave the variable out instead. Two variables that name the same setting (`WINDLASS_PORT` and
`WINDLASS_port`) are refused. `WINDLASS_URL`, `WINDLASS_KEY` and `WINDLASS_KEY_FILE` are no settings: they tell commands
such as `windlass list` where the server is, and the key to it or the file that holds the key.

**Kubernetes** gives every container variables for each Service of its namespace. Those of a Service called `windlass`
begin with `WINDLASS_` too: `WINDLASS_SERVICE_HOST`, `WINDLASS_SERVICE_PORT…`, `WINDLASS_PORT=tcp://…`,
`WINDLASS_PORT_8080_TCP…`; and so do those of a Service called `windlass-` and something. Such variables of the
environment are passed over. `enableServiceLinks: false` in the pod's spec keeps them out altogether.

## Variables of other services

A deployment of one of the services whose contract a dialect serves may keep the variables it has. Every name of
windlass's own wins over them. A value that cannot be used stops the start.

| variable | setting |
|---|---|
| `HTTP_HOST`, `HTTP_PORT` | `host`, `port` |
| `LOG_LEVEL` | `log_level`, in upper or lower case; `warn` is `warning` |
| `APP_MODE` | `debug`: `log_level` is `debug` and `log_format` is `console`; `release`: the defaults |
| `WORKERS`, `QUEUE_SIZE` | `dialects.enqueue.concurrency`, `dialects.enqueue.capacity` |

## .env

Lines of the form `NAME=value`; `export NAME=value` and spaces around the `=` are fine. Names that neither begin
with `WINDLASS_` nor stand in the table above are left alone.

- Of lines that name the same setting, the last counts.
- `#` at the start of a line, or after white space behind a value, begins a comment: of `WINDLASS_DATA=a#b # mine` the
  value is `a#b`.
- A value in single or double quotes is taken as it stands between them, `#` included, only white space at its ends is
  dropped as everywhere. There are no escapes, nothing is expanded (`$HOME` stays `$HOME`), and a value ends with its
  line.
- A line of ours without a `=`, or with quotes that do not close or are followed by something else, is refused.

A directory called `.env` (a virtual environment) is passed over.

## windlass.toml

```toml
port = 9000
apps = ["tasks:app"]

[workers]
solo = 4
```

Values have TOML's types: `port = "9000"` is refused. TOML has no none: leave the setting out.
"""


def render() -> str:
    """Write the whole reference."""
    fields = fields_of(Settings).values()
    parts = [_PROSE, "## The server", _table(field for field in fields if not field.section)]
    for section, meaning in sections_of(Settings).items():
        parts += [f"## {section}", meaning, _table(field for field in fields if field.section == section)]
    return "\n".join(f"{part.strip()}\n" for part in parts)


def _table(fields: Iterable[Field]) -> str:
    rows = [
        f"| `{field.name}`<br>`{field.variable}` | {field.expected} | {_default(field)} | {field.description} |"
        for field in fields
    ]
    return "\n".join(["| setting | value | default | meaning |", "|---|---|---|---|", *rows])


def _default(field: Field) -> str:
    if field.default == []:
        return "nothing"
    for size, unit in ((GIB, "GiB"), (MIB, "MiB")):
        if field.name.endswith("_bytes") and field.default and field.default % size == 0:
            return f"`{field.default}` ({field.default // size} {unit})"
    return f"`{spell(field.default)}`"


if __name__ == "__main__":
    sys.stdout.write(render())

"""The command `windlass`: which commands there are, and the one place where their errors end.

Imports no command: each is loaded when it is called, so that `serve` and `--help` start quickly.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from cyclopts import App, CycloptsError, Group, UnknownCommandError

from windlass import __version__
from windlass.errors import WindlassError

_HELP = """windlass takes long work over HTTP, keeps it safely, and runs it on workers.

Start a server with `windlass serve`, then submit work to it, watch it and
stop it: from here, from Python or over HTTP."""

_SERVER = Group("Server", sort_key=1)
_TASKS = Group("Tasks", sort_key=2)
_ABOUT = Group("About", sort_key=3)


class _Command(NamedTuple):
    """A command: its name, where it lives, what `--help` says of it, and calls that work."""

    name: str
    home: str
    help: str
    examples: tuple[str, ...]
    group: Group = _TASKS


_COMMANDS = (
    _Command(
        "serve",
        "windlass.cli.serve:serve",
        "Run a server: HTTP API, store and workers in one command.\n\n"
        "Without an app it serves the built-in kinds alone. It stops on SIGTERM or Ctrl-C:\n"
        "attempts get time to end, and what has not ended runs again after the next start.",
        ("windlass serve", "windlass serve tasks:app --port 9000 --data /var/lib/windlass"),
        _SERVER,
    ),
    _Command(
        "submit",
        "windlass.cli.tasks:submit",
        "Have a task done and print its id.",
        (
            "windlass submit build_report customer_id=7 month=2026-11 --wait",
            "windlass submit build_report - --key r-7 < payload.json",
            "windlass submit --batch tasks.ndjson",
        ),
    ),
    _Command(
        "get",
        "windlass.cli.get:get",
        "Have files downloaded by the server, and wait for them.",
        ("windlass get https://example.org/a.iso --to ~/Downloads",),
    ),
    _Command(
        "list",
        "windlass.cli.tasks:list_tasks",
        "List tasks, newest first.",
        ("windlass list --state failed", "windlass list --tag customer=7 --all --json"),
    ),
    _Command(
        "show", "windlass.cli.tasks:show", "Show all about one task.", ("windlass show 17", "windlass show 17 --json")
    ),
    _Command(
        "wait",
        "windlass.cli.tasks:wait",
        "Wait until tasks have ended, and end as they did.",
        ("windlass wait 17 18 --timeout 5m",),
    ),
    _Command(
        "cancel",
        "windlass.cli.operations:cancel",
        "Cancel tasks; those that run are stopped.",
        (
            'windlass cancel 17 --reason "wrong month" --grace 30s',
            "windlass cancel --kind build_report --state queued --dry-run",
        ),
    ),
    _Command(
        "retry",
        "windlass.cli.operations:retry",
        "Queue ended tasks again.",
        ("windlass retry 17", "windlass retry --state failed --finished-after 2h"),
    ),
    _Command("hold", "windlass.cli.operations:hold", "Keep queued tasks from starting.", ("windlass hold 17",)),
    _Command("release", "windlass.cli.operations:release", "Let held tasks start.", ("windlass release 17",)),
    _Command(
        "edit",
        "windlass.cli.operations:edit",
        "Change labels of tasks at any time; their priority, time or queue while they are queued.",
        ("windlass edit 17 --priority 50 --delay 0",),
    ),
    _Command(
        "delete",
        "windlass.cli.operations:delete",
        "Remove ended tasks and their files.",
        ("windlass delete 17", "windlass delete --state succeeded --finished-before 30d"),
    ),
    _Command(
        "stats",
        "windlass.cli.tasks:stats",
        "Count tasks by state and queue, and say what has happened in the last minutes.",
        ("windlass stats", "windlass stats --json"),
    ),
    _Command(
        "queues",
        "windlass.cli.queues:list_queues",
        "List the queues with what is in them and their limits.",
        ("windlass queues", "windlass queues --json"),
    ),
    _Command(
        "pause",
        "windlass.cli.queues:pause",
        "Start none of a queue's tasks until it is resumed; those that run go on.",
        ('windlass pause reports --reason "the database moves"',),
    ),
    _Command(
        "resume",
        "windlass.cli.queues:resume",
        "Start a paused queue's tasks again.",
        ("windlass resume reports",),
    ),
    _Command("kinds", "windlass.cli.tasks:kinds", "List the kinds that can be submitted.", ("windlass kinds",)),
    _Command(
        "check",
        "windlass.cli.check:check",
        "See whether a store is sound: every task, its history, the counters and the file itself.\n\n"
        "Works on the data directory of a server that runs as well as of one that does not; changes nothing.",
        ("windlass check", "windlass check --data /var/lib/windlass --json"),
        _SERVER,
    ),
    _Command(
        "key create",
        "windlass.cli.keys:create",
        "Make a key for the API and print it, this once.\n\n"
        "As long as a server has no keys, programs on its own machine need none and\n"
        "others do not get in; from the first key on everybody needs one. The scopes\n"
        "are read, submit, operate and admin; each allows what those before it do.",
        ("windlass key create laptop --scope admin", "(umask 077; windlass key create ci --scope submit > ci.key)"),
        _SERVER,
    ),
    _Command("key list", "windlass.cli.keys:list_keys", "List the keys.", ("windlass key list",), _SERVER),
    _Command(
        "key revoke",
        "windlass.cli.keys:revoke",
        "Take a key out of use, at once and for good.",
        ("windlass key revoke 5f0c1d2e3a4b5c6d",),
        _SERVER,
    ),
    _Command(
        "db status",
        "windlass.cli.db:status",
        "Say how the store of a data directory stands.",
        ("windlass db status", "windlass db status --data /var/lib/windlass --json"),
        _SERVER,
    ),
    _Command(
        "db backup",
        "windlass.cli.db:backup",
        "Copy the store into a new file, beside a running server, and check the copy.",
        ("windlass db backup /backup/windlass-2026-11-20.db --data /var/lib/windlass",),
        _SERVER,
    ),
    _Command(
        "db migrate",
        "windlass.cli.db:migrate",
        "Bring the store's schema up to date; a starting server does so by itself.",
        ("windlass db migrate --dry-run", "windlass db migrate --data /var/lib/windlass"),
        _SERVER,
    ),
    _Command(
        "config show",
        "windlass.cli.config:show",
        "Show the settings that `windlass serve` would use here, without flags.",
        ("windlass config show --origin", "windlass config show --json"),
        _SERVER,
    ),
)
_FAMILIES = {
    "config": "Look at the settings.",
    "db": "Look after the store of a data directory.",
    "key": "Say who may use a server.",
}
"""Commands that only hold others, with what `--help` says of them."""


def make_app() -> App:
    """Make the command line, with all its commands registered and none of them loaded."""
    app = App(
        name="windlass",
        help=_HELP,
        help_format="plaintext",
        version=__version__,
        group_commands=_ABOUT,
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    families = {name: App(name=name, help=about, group=_SERVER) for name, about in _FAMILIES.items()}
    for family in families.values():
        app.command(family)
    for place, command in enumerate(_COMMANDS):
        examples = "\n".join(f"  {example}" for example in command.examples)
        family, _, name = command.name.rpartition(" ")
        families.get(family, app).command(
            command.home,
            name=name,
            help=command.help,
            help_epilogue=f"Examples:\n{examples}\n",
            group=command.group,
            sort_key=place,
        )
    return app


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code. The only place where errors become messages."""
    try:
        code = _run(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except CycloptsError as error:
        return _refuse_usage(error)
    except WindlassError as error:
        from windlass.cli.output import report

        return report(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has had enough (`windlass list | head`): that is no failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sys.stderr.write(f"windlass: {error}\n")
        return 1
    except Exception:  # noqa: BLE001 - the border: what nobody foresaw still ends with an exit code
        import traceback

        sys.stderr.write(f"{traceback.format_exc()}windlass: this is a bug in windlass\n")
        return 1
    return code


def _run(words: Sequence[str]) -> int:
    if words and words[0] == "submit":
        from windlass.cli.options import spell_out

        words = spell_out(words)
    outcome = make_app()(words)
    return outcome if isinstance(outcome, int) else 0


def _refuse_usage(error: CycloptsError) -> int:
    """Say what is wrong with the command line, the nearest right word, and where to read on."""
    chain = " ".join(error.command_chain or ())
    if isinstance(error, UnknownCommandError):
        word = (error.unused_tokens or [""])[0]
        above = f"{chain} " if chain else ""
        names = [command.name.removeprefix(above) for command in _COMMANDS if command.name.startswith(above)]
        near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
        text = f"there is no command '{word[:64]}'" + (f"; did you mean {' or '.join(near)}?" if near else "")
    else:
        text = str(error)
    sys.stderr.write(f"windlass: {text}\nTry: windlass {chain + ' ' if chain else ''}--help\n")
    return 2

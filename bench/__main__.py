"""`make bench`: measures each bench in rounds, and prints a table, or one JSON document.

Gates nothing: figures do not travel between machines, and ratios are for people to judge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import msgspec

from bench import drain, end_to_end, growth, latency, memory, submits, turns
from bench.beds import Bed, SqliteBed
from bench.postgres_bed import postgres_bed
from bench.processes import ROOT, BenchError
from bench.report import Observer, table
from bench.rounds import Bench, Measured, summarize
from bench.shares import profile
from bench.sizes import FULL, QUICK, TINY, Sizes

BENCHES: Final[dict[str, Bench]] = {
    "submits": submits,
    "drain": drain,
    "end_to_end": end_to_end,
    "latency": latency,
    "turns": turns,
    "growth": growth,
    "memory": memory,
}
BEDS: Final[dict[str, Callable[[Path], AbstractContextManager[Bed]]]] = {
    "sqlite": lambda directory: nullcontext(SqliteBed(directory)),
    "postgres": postgres_bed,
}


def main() -> int:
    """Measure what is asked for."""
    arguments = _parse()
    sizes = TINY if arguments.tiny else QUICK if arguments.quick else FULL
    if arguments.rounds is not None:
        sizes = msgspec.structs.replace(sizes, rounds=arguments.rounds)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(dir=arguments.directory) as place,
            BEDS[arguments.database](Path(place)) as bed,
        ):
            if arguments.profile:
                for line in profile(sizes, bed):
                    print(line)
            else:
                _run(arguments.only or list(BENCHES), sizes, bed, as_json=arguments.json)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Speed, as ratios to limits of the same run.")
    parser.add_argument("--database", choices=BEDS, default="sqlite", help="what the stores are kept in")
    parser.add_argument("--only", action="append", choices=BENCHES, help="this bench; may be given more than once")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--rounds", type=_positive, help="how many rounds; medians are taken of them")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds")
    parser.add_argument("--tiny", action="store_true", help="so small that the figures mean nothing")
    parser.add_argument("--profile", action="store_true", help="instead: where a server's time goes under load")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / ".bench", help="where stores are made; it must be on a disk"
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("give at least 1")
    return value


def _run(names: list[str], sizes: Sizes, bed: Bed, *, as_json: bool) -> None:
    observer = Observer(bed)
    benches: dict[str, Measured] = {}
    for name in names:
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        began_at = time.monotonic()
        rounds = list(BENCHES[name].measure(sizes, bed))
        benches[name] = summarize(rounds, took_s=time.monotonic() - began_at)
    document = observer.document(sizes, benches)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        print("\n".join(table(document)))


if __name__ == "__main__":
    sys.exit(main())

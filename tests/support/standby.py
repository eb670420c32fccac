"""A second PostgreSQL that follows a first: a commit is acknowledged when both have it, and either may be lost."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from live import until
from postgres_server import USER, PostgresServer, new_server, postgres_of_its_own

_NAME = "standby"
_IN_STEP = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"


class Pair:
    """A primary and its synchronous standby; `rejoin` has them change places, nothing else does."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary = primary
        self.standby = standby

    def url(self, database: str, *, options: str = "") -> str:
        """Give the url that names both."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql://windlass@{hosts}/{database}{options and '?' + options}"

    def until_in_step(self) -> None:
        """Wait until no commit of the primary is acknowledged without the standby."""
        until(lambda: self.primary.ask(_IN_STEP) == "1", "the standby follows", log=self.standby.log)

    def promote(self) -> None:
        """Make the standby a primary, which waits for nobody. Returns when it takes writes."""
        self.standby.ask("ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()")
        assert self.standby.ask("SELECT pg_promote(true, 30)") == "t"

    def rejoin(self) -> None:
        """Make the primary that was lost the standby of the one that was promoted, and each go by its new name."""
        lost = self.primary
        lost.stop("immediate")
        shutil.rmtree(lost.data)
        self.primary, self.standby = self.standby, lost
        self.follow()

    def follow(self, *, remove: Path | None = None) -> None:
        """Make the standby of a copy of the primary, start it, and have the primary wait for it. The directory `remove`
        goes with it.
        """
        source = f"host=127.0.0.1 port={self.primary.port} user={USER} application_name={_NAME}"
        options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        self.standby.run("pg_basebackup", "--pgdata", str(self.standby.data), "--dbname", source, *options)
        self.standby.configure(hot_standby="on")
        self.standby.start(remove=remove)
        self.primary.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'; SELECT pg_reload_conf()")
        self.until_in_step()


@contextlib.contextmanager
def primary_and_standby(**settings: str) -> Iterator[Pair]:
    """Give a primary of one's own and a standby that follows it in step, and end both."""
    with (
        tempfile.TemporaryDirectory(prefix="windlass-pg-") as directory,
        postgres_of_its_own(**settings) as primary,
    ):
        Path(directory).chmod(0o711)  # to be passed through by PostgreSQL's user
        standby = new_server(Path(directory, "standby"))
        try:
            pair = Pair(primary, standby)
            pair.follow(remove=Path(directory))
            yield pair
        finally:
            standby.stop("immediate")

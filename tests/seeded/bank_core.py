"""Bugs in what keeps tasks and decides about them: the store, the rules, the engine. Data alone."""

from __future__ import annotations

from bank_bug import Bug

SQLITE = "store/sqlite/"
WRITES = "tests/contract/test_store_writes.py"
CLAIMS = "tests/contract/test_store_claims.py"
STORE = "tests/contract/test_store_sqlite.py"
GUARDS = "tests/contract/test_store_sqlite_guards.py"
SETTLER = "tests/integration/engine/test_engine_settler.py"
REAPER = "tests/integration/engine/test_engine_reaper.py"
ATTEMPTS = "tests/integration/engine/test_engine_attempts.py"
DECIDE = "tests/unit/core/test_decide.py"
CRASH = "tests/fault/crash_store/test_crash_store.py"
SEEDED = "tests/seeded/test_seen_by_nobody_else.py"

CORE: tuple[Bug, ...] = (
    # ── the store ──────────────────────────────────────────────────
    Bug(
        "a write of an attempt does not name its token",
        SQLITE + "statements.py",
        "WHERE state = 'running' AND token = asked.column3",
        "WHERE state = 'running' AND asked.column3 IS NOT NULL",
        (f"{WRITES}::test_a_stale_write_of_any_sort_changes_nothing",),
    ),
    Bug(
        "a settlement does not name its token",
        SQLITE + "statements.py",
        " AND state = 'running' AND token = +one.column2\n    AND (cancel_requested_at IS NOT NULL) = ?1",
        " AND state = 'running' AND one.column2 IS NOT NULL\n    AND (cancel_requested_at IS NOT NULL) = ?1",
        (f"{GUARDS}::test_every_update_of_a_running_task_names_its_state_and_token",),
    ),
    Bug(
        "a settlement does not name its state",
        SQLITE + "statements.py",
        " AND state = 'running' AND token = +one.column2\n    AND (cancel_requested_at IS NOT NULL) = ?1",
        " AND token = +one.column2\n    AND (cancel_requested_at IS NOT NULL) = ?1",
        (f"{GUARDS}::test_every_update_of_a_running_task_names_its_state_and_token",),
    ),
    Bug(
        "a settlement overlooks a cancel request that came in between",
        SQLITE + "statements.py",
        " AND (asked.column4 IS NULL OR (cancel_requested_at IS NOT NULL) = asked.column4)",
        " AND (asked.column4 IS NULL OR asked.column4 IS NOT NULL)",
        (f"{WRITES}::test_a_settlement_decided_before_a_cancel_request_is_to_be_decided_anew",),
    ),
    Bug(
        "whoever writes may write",
        "core/lease.py",
        "return task is not None and task.state is State.RUNNING and task.token == token",
        "return task is not None and task.state is State.RUNNING",
        (f"{WRITES}::test_a_stale_write_of_any_sort_changes_nothing", "tests/unit/core/test_lease.py"),
    ),
    Bug(
        "an attempt that has ended may write",
        "core/lease.py",
        "return task is not None and task.state is State.RUNNING and task.token == token",
        "return task is not None and task.token == token",
        ("tests/unit/core/test_lease.py",),
    ),
    Bug(
        "a commit that failed is acknowledged",
        SQLITE + "connections.py",
        "            connection.execute(sql.ROLLBACK)\n        raise",
        "            connection.execute(sql.ROLLBACK)",
        (f"{STORE}::test_an_undone_turn_leaves_nothing_and_the_next_one_works",),
    ),
    Bug(
        "commits are not synced",
        SQLITE + "connections.py",
        "_FULL_SYNC = 2",
        "_FULL_SYNC = 1",
        (f"{STORE}::test_every_commit_is_synced_and_nothing_is_mapped",),
    ),
    Bug(
        "a transaction takes its lock late",
        SQLITE + "statements.py",
        'BEGIN: Final = "BEGIN IMMEDIATE"',
        'BEGIN: Final = "BEGIN DEFERRED"',
        (f"{SEEDED}::test_a_transaction_has_its_lock_before_it_reads",),
    ),
    Bug(
        "the store goes on after an I/O error",
        SQLITE + "database.py",
        "            self._damage = error.detail\n",
        "            pass\n",
        (f"{STORE}::test_nothing_is_acknowledged_after_the_first_sign_of_damage",),
    ),
    Bug(
        "the engine goes on after an I/O error",
        "engine/settler.py",
        "            self._failure = error\n            self._on_failure(error)",
        "            pass",
        (f"{SETTLER}::test_nothing_is_acknowledged_after_the_store_has_broken_and_its_failure_is_told_once",),
    ),
    Bug(
        "the directory of a new database is not synced",
        SQLITE + "database.py",
        "        sync_directory(self.path.parent)\n",
        "",
        (f"{SEEDED}::test_a_directory_that_cannot_be_synced_keeps_the_store_from_opening",),
    ),
    Bug(
        "an ended task may be brought back",
        SQLITE + "migrations/0001_tasks.sql",
        "WHEN old.finished_at IS NOT NULL\n",
        "WHEN old.finished_at IS NULL\n",
        (f"{GUARDS}::test_not_even_maintenance_can_bring_an_ended_task_back",),
    ),
    Bug(
        "events are stored apart from what they tell of",
        SQLITE + "tasks.py",
        "                ledger.close()\n",
        "            ledger.close()\n",
        (f"{SEEDED}::test_a_turn_that_fails_late_leaves_nothing",),
    ),
    Bug(
        "a claim is two transactions",
        SQLITE + "tasks.py",
        "                claimed, served = Claimer(",
        "                connection.execute('COMMIT; BEGIN'); claimed, served = Claimer(",
        (f"{SEEDED}::test_a_turn_that_fails_late_leaves_nothing",),
    ),
    Bug(
        "a key is everybody's",
        SQLITE + "statements.py",
        "WHERE key = ?1 AND kind = ?2 AND ifnull(origin, '') = ?3",
        "WHERE key = ?1 AND kind = ?2 AND ?3 IS NOT NULL",
        (f"{WRITES}::test_a_key_belongs_to_its_origin_and_kind",),
    ),
    Bug(
        "more is claimed than there are slots",
        "store/fairness.py",
        "        free[lane.pool] -= 1\n",
        "        free[lane.pool] -= 0.5\n",
        (f"{CLAIMS}::test_a_claim_never_takes_more_than_the_free_slots",),
    ),
    Bug(
        "tasks are claimed that no worker knows",
        SQLITE + "claim.py",
        "enumerate(wanted.pools.get(kind, ()))",
        'enumerate(wanted.pools.get(kind, ("shared", "solo")))',
        (f"{CLAIMS}::test_kinds_that_no_worker_knows_are_left_alone",),
    ),
    Bug(
        "a scheduled task starts before its time",
        SQLITE + "statements.py",
        "WHERE state = 'queued' AND ready = 0 AND held = 0 AND run_at <= ?1\n",
        "WHERE state = 'queued' AND ready = 0 AND held = 0 AND run_at <= ?1 + 60000000\n",
        (f"{SEEDED}::test_a_task_that_is_due_takes_no_other_along",),
    ),
    Bug(
        "a checkpoint's I/O error is hidden",
        SQLITE + "connections.py",
        "with suppress(apsw.FullError, apsw.BusyError, apsw.LockedError):",
        "with suppress(apsw.Error):",
        (f"{CRASH}::test_an_error_of_a_checkpoint_stops_the_store",),
        needs_strace=True,
    ),
    Bug(
        "a damaged store is checkpointed when it closes",
        SQLITE + "database.py",
        "self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)",
        "pass",
        (f"{CRASH}::test_a_failing_disk_is_left_as_it_is_when_the_store_closes",),
        needs_strace=True,
    ),
    Bug(
        "a lock outlives its release in processes being spawned",
        "store/lock.py",
        "            fcntl.flock(self._file, fcntl.LOCK_UN)\n",
        "",
        (f"{SEEDED}::test_a_released_directory_is_free_though_a_copy_of_its_lock_is_open",),
    ),
    Bug(
        "a crash of the first start locks the second out",
        SQLITE + "schema.py",
        "            roll_back(path)\n",
        "            pass\n",
        (f"{CRASH}::test_what_a_first_start_has_begun_the_next_one_finishes",),
        needs_strace=True,
    ),
    Bug(
        "two servers own one directory",
        "store/lock.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        (f"{STORE}::test_a_second_opener_is_told_which_process_owns_the_directory",),
    ),
    Bug(
        "a database that was taken away is written on",
        SQLITE + "place.py",
        "if now is None or _inode(now) != self._inode or now.st_nlink != 1:",
        "if now is None:",
        ("tests/unit/store/test_store_place.py",),
    ),
    # ── decisions ──────────────────────────────────────────────────
    Bug(
        "the end of a server is charged",
        "core/decide.py",
        "        charged=_refunded(task),\n        interrupted=interrupted,",
        "        interrupted=interrupted,",
        (DECIDE,),
    ),
    Bug(
        "a crash is refunded without end",
        "core/decide.py",
        "    if lost >= LOST_MAX:",
        "    if False:",
        (DECIDE,),
    ),
    Bug(
        "a crash is a success",
        "engine/endings.py",
        "        return Lost(gone.error)",
        '        return Succeeded(b"null")',
        (f"{ATTEMPTS}::test_a_handler_that_kills_its_worker_three_times_is_poison",),
    ),
    Bug(
        "a task to be cancelled is tried again",
        "core/decide.py",
        "    cancelling = task.cancel_requested_at is not None\n",
        "    cancelling = False\n",
        (DECIDE,),
    ),
    Bug(
        "the fence counts from the answer",
        "core/lease.py",
        "now=renewal_sent_at, grace_s",
        "now=renewal_sent_at + times.ttl_s, grace_s",
        ("tests/unit/core/test_lease.py",),
    ),
    Bug(
        "an interrupted task goes to the end of the line",
        "core/decide.py",
        "        solo=task.solo or isolate,\n",
        "        solo=task.solo or isolate,\n        run_at=now,\n",
        (DECIDE,),
    ),
    # ── the engine ─────────────────────────────────────────────────
    Bug(
        "a recovery ends after its first page",
        "engine/reaper.py",
        "        after = page[-1].number\n",
        "        after = 1 << 60\n",
        (f"{REAPER}::test_it_pages_to_the_end",),
    ),
    Bug(
        "a recovery passes over a cancel request",
        "engine/reaper.py",
        "current = result.task if result.why is Refusal.CHANGED else None",
        "current = None",
        (f"{REAPER}::test_a_cancel_that_lands_between_the_reading_and_the_settling_is_respected",),
    ),
    Bug(
        "the line of writes has no end",
        "engine/line.py",
        "            if self.tasks + tasks > LINE_WRITES:",
        "            if False:",
        (f"{SETTLER}::test_a_full_line_refuses_a_write_and_says_when_to_come_again",),
    ),
    Bug(
        "a wake is the only thing that starts a claim",
        "engine/feeder.py",
        "        self._settler.kick()\n        self._alarm",
        "        self._alarm",
        ("tests/integration/engine/test_engine_feeder.py::test_with_nothing_to_wait_for_it_looks_now_and_then",),
    ),
    Bug(
        "a blocked server keeps its leases",
        "core/lease.py",
        "return now - loop_turned_at > times.ttl_s / 2",
        "return False",
        ("tests/unit/core/test_lease.py",),
    ),
)

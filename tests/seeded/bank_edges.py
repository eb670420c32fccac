"""Bugs at the edges: workers, downloads, requests, and who may send them. Data alone."""

from __future__ import annotations

from bank_bug import Bug

SQLITE = "store/sqlite/"
RESUME = "tests/integration/test_download_resume.py"
GUARD = "tests/integration/test_download_guard.py"
REFUSALS = "tests/integration/test_download_refusals.py"
SEEDED = "tests/seeded/test_seen_by_nobody_else.py"

EDGES: tuple[Bug, ...] = (
    # ── workers ────────────────────────────────────────────────────
    Bug(
        "a worker outlives its server",
        "worker/main.py",
        "prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)",
        "prctl(_PR_SET_PDEATHSIG, 0)",
        (f"{SEEDED}::test_a_worker_that_hears_nothing_dies_with_its_server",),
    ),
    Bug(
        "another process is killed for a worker that had its pid",
        "link/census.py",
        "return stat is None or stat[2] == worker.started",
        "return True",
        ("tests/integration/link/test_link_census.py::test_recorded_groups_are_cleared_and_nobody_else",),
    ),
    # ── downloads ──────────────────────────────────────────────────
    Bug(
        "a weak ETag is enough to go on",
        "handlers/download/resume.py",
        """r'"[\\x21\\x23-\\x7e\\x80-\\xff]*"'""",
        """r'(W/)?"[\\x21\\x23-\\x7e\\x80-\\xff]*"'""",
        ("tests/unit/handlers/test_download_plan.py",),
    ),
    Bug(
        "a whole file is appended to a part",
        "handlers/download/resume.py",
        'return Answer("restart", head.content_length, validator_of(head))',
        'return Answer("continue" if offset else "restart", head.content_length, validator_of(head))',
        ("tests/unit/handlers/test_download_plan.py",),
    ),
    Bug(
        "a length is checked in the head alone",
        "handlers/download/transfer.py",
        "        self._check_limit(size)\n        if sink.size",
        "        if sink.size",
        (f"{REFUSALS}::test_an_endless_body_is_stopped_at_the_files_own_limit",),
    ),
    Bug(
        "a file that ended early is whole",
        "handlers/download/transfer.py",
        "if sink.size is not None and sink.offset != sink.size:",
        "if sink.size is not None and sink.offset > sink.size:",
        (f"{SEEDED}::test_a_rest_that_ends_early_and_gave_no_length_is_not_whole",),
    ),
    Bug(
        "a digest is not checked",
        "handlers/download/transfer.py",
        "elif sink.digest() != expected:",
        "elif not sink.digest():",
        (f"{RESUME}::test_a_wrong_digest_is_tried_once_more_and_then_nothing_is_published",),
    ),
    Bug(
        "a file replaces another",
        "handlers/download/folder.py",
        "os.link(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor, follow_symlinks=False)",
        "os.replace(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)",
        (f"{REFUSALS}::test_what_has_the_name_already_is_never_replaced",),
    ),
    Bug(
        "a file has its name before its bytes are on disk",
        "handlers/download/sink.py",
        "        os.fsync(self._descriptor)\n        record",
        "        record",
        ("tests/integration/test_download_crash.py::test_a_record_is_written_only_behind_the_bytes_it_speaks_of",),
    ),
    Bug(
        "a redirect gives up encryption",
        "outbound/guard.py",
        '    if base.scheme == "https" and url.scheme == "http":\n',
        "    if False:\n",
        ("tests/unit/outbound/test_guard.py",),
    ),
    Bug(
        "one good answer is enough for a name",
        "outbound/guard.py",
        "        for answer in answers:\n            self.judge",
        "        for answer in answers[:1]:\n            self.judge",
        (f"{GUARD}::test_one_answer_that_is_not_allowed_refuses_the_name",),
    ),
    Bug(
        "credentials go along to another origin",
        "outbound/transport.py",
        "leaves=url.origin != first.origin)",
        "leaves=False)",
        (f"{GUARD}::test_the_callers_headers_stay_with_the_first_origin",),
    ),
    Bug(
        "an address is judged, and another one connected to",
        "outbound/transport.py",
        "            self._guard.judge(host, port, name=None if host == self._url.host else self._url.host)\n",
        "",
        (f"{GUARD}::test_the_socket_itself_is_judged_again",),
    ),
    Bug(
        "what Python calls private is all that is refused",
        "outbound/networks.py",
        "    refusal = _refuse(address)\n",
        '    refusal = Refusal(address, "a private address") if address.is_private else None\n',
        ("tests/unit/outbound/test_guard.py",),
    ),
    # ── the border ─────────────────────────────────────────────────
    Bug(
        "a number beyond all numbers is taken",
        "wire/codec.py",
        "elif decimal and not math.isfinite(float(decimal)):",
        'elif decimal and decimal.lstrip(b"-")[:1] in b"NI":',
        ("tests/unit/wire/test_codec.py",),
    ),
    Bug(
        "the last of two equal keys wins",
        "wire/codec.py",
        "    if key in keys:\n",
        "    if False:\n",
        ("tests/unit/wire/test_codec.py::test_a_repeated_key_never_passes",),
    ),
    Bug(
        "a page of another origin changes things",
        "http/cors.py",
        "        if len(origins) > 1 or not self._is_let_in(origins[0].lower(), is_dialect):\n",
        "        if False:\n",
        ("tests/integration/http/test_http_admission.py",),
    ),
    # ── who may come in ────────────────────────────────────────────
    Bug(
        "a key is known by its id alone",
        "engine/access.py",
        "is_same = hmac.compare_digest(digest_of(said.secret), _NOBODY if key is None else key.digest)",
        "is_same = True",
        ("tests/integration/http/test_access.py::test_whatever_is_wrong_with_a_key_the_answer_is_the_same",),
    ),
    Bug(
        "a revoked key lets in",
        "engine/access.py",
        "return key if is_same and key is not None and _is_live(key) else None",
        "return key if is_same and key is not None else None",
        ("tests/integration/http/test_access.py::test_whatever_is_wrong_with_a_key_the_answer_is_the_same",),
    ),
    Bug(
        "a key allows more than its scopes",
        "engine/access.py",
        "        if not is_allowed(key.scopes, needed):\n",
        "        if False:\n",
        ("tests/integration/http/test_access.py::test_no_guarded_route_answers_without_the_scope_it_declares",),
    ),
    Bug(
        "a request that a proxy passed on counts as one of this machine",
        "http/access.py",
        "is_local = is_loopback(address) and not any(call.header(name) for name in _FORWARDED)",
        "is_local = is_loopback(address)",
        ("tests/integration/http/test_access.py",),
    ),
    Bug(
        "a replay is everybody's",
        SQLITE + "statements.py",
        "SELECT ?1, fingerprint, answer FROM replays WHERE scope = ?2 AND key = ?3 AND until > ?4",
        "SELECT ?1, fingerprint, answer FROM replays WHERE ?2 IS NOT NULL AND key = ?3 AND until > ?4",
        (f"{SEEDED}::test_an_idempotency_key_is_its_callers_own",),
    ),
    Bug(
        "what has not ended is deleted",
        SQLITE + "removal.py",
        "            elif not task.state.has_ended:\n",
        "            elif False:\n",
        ("tests/contract/test_store_removal.py::test_a_task_that_has_not_ended_is_not_deleted",),
    ),
    Bug(
        "a name that was rebound to us is let in",
        "http/middleware.py",
        'if len(hosts) != 1 or not self._is_known(hosts[0], scope["server"]):',
        "if len(hosts) != 1:",
        ("tests/integration/http/test_http_admission.py::test_it_answers_to_no_other",),
    ),
)

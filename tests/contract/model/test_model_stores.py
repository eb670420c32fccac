"""Whatever clients, attempts, operators, kills and faults do to them, all stores do what their contract says."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from model_machine import StoresMachine
from postgres import database


def hold_against_the_reference(examples: int, steps: int, number: int, *, database: str | None = None) -> None:
    """Run the machine, with PostgreSQL where `database` is given; pytest shows what is printed here when it fails."""
    print(f"to see this again: pytest --randomly-seed={number}")
    began = time.monotonic()
    run_state_machine_as_test(
        seed(number)(type("StoresMachine", (StoresMachine,), {"database": database})),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
    print(f"{examples} lives of {steps} steps at most took {time.monotonic() - began:.1f} s")


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """Give the seed that pytest prints at the head of each run."""
    return int(request.config.getoption("randomly_seed", 0))


@pytest.mark.timeout(600)  # LIMIT: passing takes seconds; a failure is shrunk, for five minutes at most
def test_stores_without_a_server_do_what_the_reference_does(number: int) -> None:
    hold_against_the_reference(80, 50, number)


@pytest.mark.timeout(600)
def test_all_stores_do_what_the_reference_does(number: int) -> None:
    with database("model") as url:
        hold_against_the_reference(12, 30, number, database=url)


@pytest.mark.prove
@pytest.mark.timeout(7_200)
def test_all_stores_do_what_the_reference_does_for_very_long(number: int) -> None:
    with database("model") as url:
        hold_against_the_reference(2_000, 100, number, database=url)

"""The rule over 120 nights: through the real store and alerts once, without them often."""

from pathlib import Path

from tests.bench.nights import pure, through_the_store

SEED, MANY = 0, 12


def test_20_percent_are_found_within_two_nights_and_quiet_nights_stay_quiet(tmp_path: Path) -> None:
    outcome = through_the_store(SEED, tmp_path)
    print(f"false alerts in 100 quiet nights: {outcome.false.total()}; +20 % found in night {outcome.found}")
    assert outcome.found is not None and outcome.found <= 2
    assert outcome.false.total() <= 1
    assert outcome.false == pure(SEED).false and outcome.found == pure(SEED).found


def test_so_it_is_on_average_over_many_simulations() -> None:
    outcomes = [pure(seed) for seed in range(1, MANY + 1)]
    false = sum(outcome.false.total() for outcome in outcomes) / MANY
    found = sum(outcome.found is not None for outcome in outcomes)
    print(f"{MANY} simulations: {false:.2f} false alerts per 100 quiet nights, {found} found in time")
    assert false <= 1
    assert found >= MANY - 1

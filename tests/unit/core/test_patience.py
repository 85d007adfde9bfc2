"""How long a run waits for what is absent: in full once, and never less for what appears."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshlab.core.patience import LEAST, Patience, patience_of
from tests.fakes.clock import FakeClock


def use(patience: Patience, clock: FakeClock, seconds: float | None, **options: float) -> float:
    """One wait of 60 s at most that ends after `seconds`, or runs out of its time; returns the time that it had."""
    with patience.awaiting(60, **options) as given_seconds:
        clock.sleep(given_seconds if seconds is None else min(seconds, given_seconds))
    return given_seconds


def test_waits_that_succeed_take_nothing_from_the_later_ones():
    clock = FakeClock()
    patience = Patience(clock)
    assert [use(patience, clock, 59.9) for _ in range(5)] == [60] * 5


def test_what_is_absent_is_awaited_in_full_once():
    clock = FakeClock()
    patience = Patience(clock)
    assert [use(patience, clock, None) for _ in range(8)] == [60, *[LEAST] * 7]
    assert clock.now() == 60 + 7 * LEAST


def test_what_is_absent_after_a_wait_that_was_short_has_the_rest():
    clock = FakeClock()
    patience = Patience(clock)
    with patience.awaiting(20) as seconds:
        clock.sleep(seconds)
    assert use(patience, clock, None) == 40


def test_what_needs_new_scrapes_has_time_for_them_but_never_more_than_without_a_fault():
    clock = FakeClock()
    patience = Patience(clock)
    use(patience, clock, None)
    assert use(patience, clock, None, least=15) == 15
    assert use(patience, clock, None, least=900) == 60


def test_what_could_begin_to_appear_later_has_its_time_from_then_on():
    clock = FakeClock()
    patience = Patience(clock)
    use(patience, clock, None)
    assert patience.first("traces") == 60
    clock.sleep(10)
    assert patience.first("traces") == 60
    assert use(patience, clock, None, since=patience.first("traces")) == 50
    assert use(patience, clock, None, since=patience.first("traces")) == LEAST


def test_waits_side_by_side_are_paid_for_once():
    clock = FakeClock()
    patience = Patience(clock)
    with patience.awaiting(30) as one, patience.awaiting(30) as other:
        clock.sleep(30)
    assert (one, other) == (30, 30)
    assert use(patience, clock, None) == 30


def test_a_run_has_one():
    assert patience_of("a-run") is patience_of("a-run") is not patience_of("another-run")


@given(st.lists(st.one_of(st.none(), st.floats(0, 59)), max_size=20))
def test_a_red_run_waits_one_deadline_longer_than_a_green_one_and_a_little_for_each(ends):
    """None: absent. A wait that ends in time ends as soon as it would have without the others."""
    clock = FakeClock()
    patience = Patience(clock)
    for seconds in ends:
        use(patience, clock, seconds)
    green = sum(seconds for seconds in ends if seconds is not None)
    assert clock.now() <= green + 60 + LEAST * len(ends) + 0.001

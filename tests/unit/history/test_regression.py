from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.history.regression import JUDGED, Judged, Night, Rule, baseline, degradations, judge

UP, DOWN = Judged("up", 0.1, 0.1, "slower"), Judged("down", 0.1, 0.1, "errors")
QUIET = [10.0, 10.2, 9.9, 10.1, 9.8, 10.0, 10.3, 9.9, 10.1, 10.0]


def nights(*values: float) -> list[Night]:
    return [Night(f"r{number}", f"2026-03-{number + 1:02}", value) for number, value in enumerate(values)]


def test_one_bad_night_is_none_two_in_a_row_are_an_incident() -> None:
    assert degradations(nights(*QUIET, 13.0, 10.0, 13.0, 10.0), UP) == []
    [found] = degradations(nights(*QUIET, 13.0, 13.5), UP)
    assert (found.first.run_id, found.noticed.run_id, found.noticed.value) == ("r10", "r11", 13.5)
    assert found.ended is None


def test_it_ends_with_two_good_nights_and_then_may_begin_anew() -> None:
    [one, two] = degradations(nights(*QUIET, 13, 13, 13, 10, 13, 10, 10.1, 10, 14, 14), UP)
    assert (one.first.run_id, one.ended and one.ended.run_id, one.renewed) == ("r10", "r16", False)
    assert two.ended is None and two.first.run_id == "r18"
    assert two.baseline.middle == pytest.approx(10.0)  # the bad nights are in no baseline


def test_every_night_of_an_incident_is_bad_by_the_limit_that_it_began_with() -> None:
    seen = judge(nights(*QUIET, *[12.0] * 9, 10.0, 10.0, 10.0), UP)
    assert [each.bad for each in seen] == [False] * len(QUIET) + [True] * 9 + [False] * 3
    limits = {each.base.limit for each in seen[len(QUIET) : len(QUIET) + 11] if each.base}
    assert len(limits) == 1
    assert [each.base for each in seen[: Rule().least]] == [None] * Rule().least


def test_a_level_that_stays_becomes_the_baseline_after_a_window() -> None:
    [found] = degradations(nights(*QUIET, *[13.0] * 20), UP)
    assert found.renewed and found.ended is not None
    assert found.ended.run_id == f"r{len(QUIET) + Rule().window - 1}"
    assert len(degradations(nights(*QUIET, *[13.0] * 20, 16, 16), UP)) == 2


def test_the_direction_counts() -> None:
    assert degradations(nights(*QUIET, 7, 7, 7), UP) == []
    assert degradations(nights(*QUIET, 13, 13), DOWN) == []
    assert len(degradations(nights(*QUIET, 7, 7), DOWN)) == 1


def test_too_little_history_is_silent() -> None:
    least = Rule().least
    assert degradations(nights(*QUIET[: least - 1], 50.0), UP) == []
    assert baseline(QUIET[: least - 1], UP) is None
    assert len(degradations(nights(*QUIET[:least], 50.0, 50.0), UP)) == 1


def test_a_drop_that_is_small_in_the_measures_own_unit_does_not_matter() -> None:
    constant = [0.0] * 14
    assert degradations(nights(*constant, 0.5, 0.5), JUDGED["error-rate"]) == []
    assert len(degradations(nights(*constant, 1.5, 1.5), JUDGED["error-rate"])) == 1


def test_an_odd_night_moves_neither_median_nor_spread_much() -> None:
    calm, odd = baseline(QUIET, UP), baseline([*QUIET[:-1], 900.0], UP)
    assert calm is not None and odd is not None
    assert odd.limit < calm.limit * 1.1


def test_latency_and_errors_are_bad_upwards_success_downwards() -> None:
    for name in ("request-p50", "path-p99", "path-p90", "error-rate", "proxy-memory", "run-seconds"):
        assert JUDGED[name].bad == "up", name
    for name in ("success-rate", "request-rate"):
        assert JUDGED[name].bad == "down"
    assert "path-error-rate" in JUDGED
    assert "requests-sent" not in JUDGED


@given(st.lists(st.floats(0, 1e6), max_size=60), st.sampled_from([UP, DOWN]))
def test_incidents_follow_one_another_and_only_the_last_is_open(values: list[float], how: Judged) -> None:
    found = degradations(nights(*values), how)
    assert all(each.ended is not None for each in found[:-1])
    order = [int(n.run_id[1:]) for each in found for n in (each.first, each.noticed, each.ended) if n]
    assert list(accumulate(order, max)) == order
    assert all(each.baseline.exceeded(each.first.value) for each in found)
    assert all(each.baseline.exceeded(each.noticed.value) for each in found)


@given(st.lists(st.floats(0, 1e6), max_size=40), st.integers(0, 40))
def test_what_is_told_does_not_change_with_nights_to_come(values: list[float], cut: int) -> None:
    whole, part = degradations(nights(*values), UP), degradations(nights(*values[:cut]), UP)
    for early, late in zip(part, whole, strict=False):
        assert (early.first, early.noticed) == (late.first, late.noticed)
        assert early.ended is None or early.ended == late.ended

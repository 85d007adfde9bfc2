"""fortio's result is found in its log, and the pods' results add up to one."""

from __future__ import annotations

import pytest

from meshlab.app.load_result import combine, fortio_json
from meshlab.config.settings_load import LoadProfile
from tests.unit.app.fortio import FIRST, SAID, log, result

FAST = [(0.0184, 0.02, 10), (0.02, 0.025, 80), (0.025, 0.0293, 10)]  # seconds, 100 requests
SLOW = [(0.0222, 0.025, 50), (0.1, 0.1311, 50)]


def test_the_result_is_found_between_the_lines_of_the_log() -> None:
    assert fortio_json(log(result(FAST))) == result(FAST)


@pytest.mark.parametrize("text", ["", FIRST, f"{FIRST}\n{SAID}\nAborting", "{\n}", "{\n  half", "}\n{"])
def test_a_log_without_a_result_has_none(text: str) -> None:
    assert fortio_json(text) is None


def test_one_pod_keeps_its_rate_its_buckets_and_its_percentiles() -> None:
    found = combine(LoadProfile(50, 4, 2), [result(FAST)])
    assert (found.requests, found.errors, found.reached, found.share) == (100, 0, 50, 1)
    assert not found.saturated
    assert [(each.start, each.end, each.count) for each in found.histogram] == [
        (pytest.approx(18.4), 20, 10),
        (20, 25, 80),
        (25, pytest.approx(29.3), 10),
    ]
    assert found.percentile(50) == pytest.approx(20 + 40 / 80 * 5)
    assert found.percentile(99) == pytest.approx(25 + 9 / 10 * 4.3)
    assert found.percentile(100) == pytest.approx(29.3)
    assert (found.least, found.most) == (pytest.approx(18.4), pytest.approx(29.3))


def test_what_several_pods_found_adds_up_bucket_by_bucket() -> None:
    found = combine(LoadProfile(100, 8, 2), [result(FAST), result(SLOW, {"200": 90, "503": 7, "-1": 3})])
    assert (found.pods, found.requests, found.reached) == (2, 200, 100)
    assert found.statuses == {"200": 190, "503": 7, "no answer": 3}
    assert found.errors == 10
    assert [each.count for each in found.histogram] == [10, 130, 10, 50]  # 22.2 to 25 ms lies in 20 to 25
    assert found.percentile(50) == pytest.approx(20 + 90 / 130 * 5)
    assert found.most == pytest.approx(131.1)


def test_a_rate_that_is_not_reached_is_saturated() -> None:
    # The same requests took twice as long as was asked.
    found = combine(LoadProfile(100, 4, 1), [result(FAST, seconds=2.0)])
    assert found.saturated and found.share == pytest.approx(0.5, abs=0.02)
    just = combine(LoadProfile(50, 4, 2), [result([(0.02, 0.025, 99)])])
    assert just.share == pytest.approx(0.99) and not just.saturated
    assert combine(LoadProfile(50, 4, 2), [result([(0.02, 0.025, 98)])]).saturated


def test_connections_that_begin_one_after_the_other_are_not_saturated() -> None:
    # 10 requests/s over 4 connections: the last one begins, and ends, up to 0.4 s after the first.
    found = combine(LoadProfile(10, 4, 2), [result([(0.02, 0.025, 20)], seconds=2.39)])
    assert (found.reached, found.saturated) == (10, False)


def test_requests_that_the_connections_can_t_share_evenly_are_not_missing() -> None:
    # fortio makes 37 requests on each of 4 connections of the 150 that 50/s are in 3 s.
    found = combine(LoadProfile(50, 4, 3), [result([(0.02, 0.025, 148)], seconds=2.97)])
    assert found.reached == pytest.approx(50) and not found.saturated


def test_a_closed_loop_asks_for_no_rate_and_is_never_saturated() -> None:
    found = combine(LoadProfile(None, 4, 2), [result(FAST)])
    assert (found.asked, found.share, found.saturated, found.reached) == (None, None, False, 50)


def test_what_takes_longer_than_the_last_bucket_is_counted() -> None:
    found = combine(LoadProfile(None, 1, 20), [result([(9.0, 10.0, 1), (10.0, 12.5, 1)], seconds=22)])
    assert [(each.end, each.count) for each in found.histogram] == [(10_000, 1), (12_500, 1)]


def test_no_request_at_all_has_no_times() -> None:
    found = combine(LoadProfile(10, 1, 2), [result([])])
    assert (found.requests, found.reached, found.percentile(50), found.histogram) == (0, 0, 0, ())

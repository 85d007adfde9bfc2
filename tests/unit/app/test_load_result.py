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


@pytest.mark.parametrize("place", range(1, 8))
def test_lines_of_the_other_stream_may_stand_between_those_of_the_result(place: int) -> None:
    """Met in a pod: the kubelet reads the two streams of a container side by side."""
    lines = log(result(FAST)).splitlines()
    begin = lines.index("{")
    mixed = [*lines[: begin + place], *SAID.splitlines(), *lines[begin + place :]]
    assert fortio_json("\n".join(mixed)) == result(FAST)


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
    found = combine(LoadProfile(100, 4, 1), [result(FAST, seconds=2.0, rate="100")])
    assert found.saturated and found.share == pytest.approx(0.5, abs=0.02)
    just = combine(LoadProfile(50, 4, 2), [result([(0.02, 0.025, 99)], rate="50")])
    assert just.share == pytest.approx(0.99) and not just.saturated
    assert combine(LoadProfile(50, 4, 2), [result([(0.02, 0.025, 98)], rate="50")]).saturated


def test_connections_that_begin_one_after_the_other_are_not_saturated() -> None:
    # 10 requests/s over 4 connections: the last one begins, and ends, up to 0.4 s after the first.
    found = combine(LoadProfile(10, 4, 2), [result([(0.02, 0.025, 20)], seconds=2.39, rate="10")])
    assert (found.reached, found.saturated) == (10, False)


def test_requests_that_the_connections_can_t_share_evenly_are_not_missing() -> None:
    # fortio makes 37 requests on each of 4 connections of the 150 that 50/s are in 3 s.
    found = combine(LoadProfile(50, 4, 3), [result([(0.02, 0.025, 148)], seconds=3.05, rate="50")])
    assert found.reached == pytest.approx(50) and not found.saturated


# What fortio 1.68.1 answered on an idle machine: requests, connections, seconds, the longest answer's seconds.
@pytest.mark.parametrize(
    ("profile", "sent", "used", "lasted", "longest", "reached"),
    [
        (LoadProfile(1, 8, 5), 4, 2, 5.022196465, 0.0223, 1),  # also the warm-up of --load 1,8,60s
        (LoadProfile(2, 8, 5), 10, 5, 7.020681336, 0.1319, 2),
        (LoadProfile(1, 8, 30), 24, 8, 31.021099792, 0.0244, 1),
        (LoadProfile(0.1, 1, 1), 2, 1, 20.030904572, 0.0510, 0.1),  # two requests are the fewest
        (LoadProfile(100, 8, 1), 96, 8, 1.101429450, 0.0799, 100),  # an answer takes longer than 1/100 s
        (LoadProfile(2, 8, 5), 10, 5, 8.501778873, 1.7880, 2),  # slow answers, but to requests in time
    ],
)
def test_few_requests_are_told_at_their_rate_and_with_the_connections_that_sent_them(
    profile: LoadProfile, sent: int, used: int, lasted: float, longest: float, reached: float
) -> None:
    answered = [(0.02, 0.0205, sent - 1), (0.022, longest, 1)]
    found = combine(profile, [result(answered, seconds=lasted, rate=f"{profile.rate:g}", connections=used)])
    assert found.reached == pytest.approx(reached) and not found.saturated
    assert found.connections == used and f"{used} connections" in str(found)
    assert found.reached >= sent / lasted
    assert lasted < profile.longest(1) + longest + 0.1, "it is waited for that long"


def test_answers_that_keep_few_connections_from_sending_are_saturated() -> None:
    # Two requests on each of 5 connections, which are to begin 5 s apart: each waits 10 s for no answer.
    found = combine(
        LoadProfile(2, 8, 5), [result([(10, 10.0, 10)], {"-1": 10}, seconds=22, rate="2", connections=5)]
    )
    assert found.saturated and found.share == pytest.approx(0.5, abs=0.03)


def test_each_pod_counts_the_connections_that_it_used() -> None:
    # 1 request/s from two pods of four connections in 5 s: two requests each, for which fortio uses one connection.
    one = result([(0.02, 0.025, 2)], seconds=4.021, rate="0.5", connections=1)
    found = combine(LoadProfile(1, 8, 5), [one, one])
    assert (found.reached, found.connections, found.seconds) == (1, 2, 4)


def test_a_load_that_was_cut_short_is_told_at_the_rate_that_was_there() -> None:
    cut = result([(0.02, 0.025, 20)], seconds=2.0, rate="10")
    assert combine(LoadProfile(10, 4, 30), [cut]).reached == 10


def test_a_closed_loop_asks_for_no_rate_and_is_never_saturated() -> None:
    found = combine(LoadProfile(None, 4, 2), [result(FAST, rate="max")])
    assert (found.asked, found.share, found.saturated, found.reached) == (None, None, False, 50)


def test_what_takes_longer_than_the_last_bucket_is_counted() -> None:
    found = combine(
        LoadProfile(None, 1, 20), [result([(9.0, 10.0, 1), (10.0, 12.5, 1)], seconds=22, rate="max")]
    )
    assert [(each.end, each.count) for each in found.histogram] == [(10_000, 1), (12_500, 1)]


def test_no_request_at_all_has_no_times() -> None:
    found = combine(LoadProfile(10, 1, 2), [result([], rate="10")])
    assert (found.requests, found.reached, found.percentile(50), found.histogram) == (0, 0, 0, ())

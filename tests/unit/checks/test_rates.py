import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.checks.rates import RATE_OF, extrapolated_rate, increase, rate_5m
from meshlab.observability.addons.query import Sample
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.prometheus import FakePrometheus


def every(step: float, values: list[float], start: float = 0.0) -> list[tuple[float, float]]:
    return [(start + step * index, value) for index, value in enumerate(values)]


def test_a_counter_that_covers_its_range_gives_its_slope() -> None:
    # as in Prometheus's own test data (promqltest/testdata/functions.test): +10 every 5 min over 50 min
    samples = every(300, [10.0 * n for n in range(1, 11)], start=300)
    assert extrapolated_rate(samples, at=3000, range_seconds=3000) == pytest.approx(0.1 / 3)


def test_a_series_that_starts_inside_the_range_is_stretched_by_half_an_interval() -> None:
    # 31 samples, 5 s apart, from 130 s to 280 s; the range is (0 s, 300 s].
    samples = every(5, [100.0 + 2 * n for n in range(31)], start=130)
    # risen 60 over 150 s; start border 130 s away → 2.5 s, end border 20 s away → 2.5 s
    assert extrapolated_rate(samples, at=300, range_seconds=300) == pytest.approx(60 * 155 / 150 / 300)


def test_a_near_border_is_reached_whole() -> None:
    samples = every(
        5, [1000.0 + n for n in range(59)], start=5.4
    )  # 5.4 s to the start (≤ 5.5), 4.6 s to the end
    assert extrapolated_rate(samples, at=300, range_seconds=300) == pytest.approx(58 * 300 / 290 / 300)


def test_the_counter_is_never_stretched_below_zero() -> None:
    samples = every(5, [1.0, 21.0, 41.0], start=290)
    # half an interval back would be 2.5 s, but the counter would be zero 0.25 s before its first sample
    assert extrapolated_rate(samples, at=300, range_seconds=300) == pytest.approx(40 * 10.25 / 10 / 300)


def test_a_reset_counts_what_came_before_it() -> None:
    assert increase([5, 10, 3, 4]) == 9  # 5 up to the reset, 3 from zero, 1 more
    samples = every(100, [5.0, 10.0, 3.0, 4.0])
    # 0 s to 300 s, and the border of the range lies at the first sample
    assert extrapolated_rate(samples, at=300, range_seconds=300) == pytest.approx(9 / 300)


def test_a_counter_that_stands_still_has_rate_zero() -> None:
    assert extrapolated_rate(every(5, [7.0] * 10, start=255), at=300, range_seconds=300) == 0.0


@pytest.mark.parametrize("samples", [[], [(10.0, 5.0)]])
def test_fewer_than_two_samples_give_no_answer(samples: list[tuple[float, float]]) -> None:
    assert extrapolated_rate(samples, at=300, range_seconds=300) is None


def test_one_instant_twice_is_not_stretched() -> None:
    assert extrapolated_rate([(10.0, 5.0), (10.0, 8.0)], at=300, range_seconds=300) == pytest.approx(3 / 300)


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=60),
    st.integers(0, 1000),
    st.floats(0, 4.9),
)
def test_the_rate_lies_between_the_plain_rise_and_the_rise_stretched_to_the_range(
    steps: list[int], first: int, offset: float
) -> None:
    values = [float(first)]
    for step in steps:
        values.append(values[-1] + step)
    samples = every(5, values, start=300 - 5 * len(steps) - offset)
    rate = extrapolated_rate(samples, at=300, range_seconds=300)
    assert rate is not None
    risen, covered = values[-1] - values[0], 5.0 * len(steps)
    assert risen / 300 - 1e-9 <= rate <= risen / covered + 1e-9


# ── the check


def labels(reporter: str, source: str = "sleep") -> dict[str, str]:
    return {
        "reporter": reporter,
        "source_app": source,
        "destination_app": "productpage",
        "response_code": "200",
    }


def steady(prometheus: FakePrometheus, *, since: float = 0.0) -> FakePrometheus:
    for reporter in ("source", "destination"):
        prometheus.add(lambda t: 2 * (t - since) if t >= since else None, **labels(reporter))
    return prometheus


def test_the_answer_is_what_the_raw_samples_give_though_the_window_is_not_full() -> None:
    clock = FakeClock(start=62.0)
    result = rate_5m(steady(FakePrometheus(clock)), asked_rate=2.0, clock=clock)
    assert result.verdict is Verdict.PASS, result.reason
    row = result.evidence["series"][0]
    assert (row["samples"], row["covered_seconds"], row["risen"]) == (13, 60.0, 120.0)
    assert row["answer"] == pytest.approx(120 * 62 / 60 / 300)
    assert "sleep 0.413/s over 5 min (60 s scraped, asked 2.000/s), largest deviation 0.00%" in result.summary


def test_where_one_side_is_kept_the_other_is_not_awaited() -> None:
    clock = FakeClock(start=62.0)
    prometheus = FakePrometheus(clock)
    prometheus.add(lambda t: 2 * t, **labels("destination"))
    result = rate_5m(prometheus, asked_rate=2.0, reporters=("destination",), timeout=10, clock=clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert clock.now() == 62.0 and "sleep 0.413/s" in result.summary


def test_it_waits_for_two_scrapes_of_both_reporters() -> None:
    clock = FakeClock(start=62.0)
    result = rate_5m(steady(FakePrometheus(clock), since=65.0), asked_rate=2.0, clock=clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert clock.now() >= 70


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.09, Verdict.PASS), (1.12, Verdict.FAIL), (0.0, Verdict.FAIL)]
)
def test_an_answer_off_by_more_than_a_tenth_fails(factor: float, verdict: Verdict) -> None:
    clock = FakeClock(start=62.0)
    prometheus = steady(FakePrometheus(clock))
    plain = prometheus._rates
    prometheus.answers[f"rate({RATE_OF}[5m])"] = lambda at: [
        Sample(s.labels, s.value * factor, at) for s in plain(RATE_OF, at)
    ]
    result = rate_5m(prometheus, asked_rate=2.0, clock=clock)
    assert result.verdict is verdict
    if verdict is Verdict.FAIL:
        assert "its raw samples give 0.4133/s" in (result.reason or "")


def test_a_series_without_an_answer_fails() -> None:
    clock = FakeClock(start=62.0)
    prometheus = steady(FakePrometheus(clock))
    prometheus.answers[f"rate({RATE_OF}[5m])"] = lambda at: []
    result = rate_5m(prometheus, asked_rate=2.0, clock=clock)
    assert "Prometheus answers None, its raw samples give" in (result.reason or "")


def test_no_calls_of_sleep_is_explained() -> None:
    clock = FakeClock(start=62.0)
    prometheus = FakePrometheus(clock)
    prometheus.add(lambda t: t, **labels("source", "ingressgateway"))
    result = rate_5m(prometheus, asked_rate=2.0, timeout=10, clock=clock)
    assert result.verdict is Verdict.FAIL
    assert "no rate of sleep's calls (source reporter): none of 1 series matches" in (result.reason or "")
    assert """wanted source_app="sleep", it has 'ingressgateway'""" in (result.reason or "")


def test_a_counter_that_stands_still_is_no_rate() -> None:
    clock = FakeClock(start=62.0)
    prometheus = FakePrometheus(clock)
    for reporter in ("source", "destination"):
        prometheus.add(7.0, **labels(reporter))
    assert rate_5m(prometheus, asked_rate=2.0, timeout=10, clock=clock).verdict is Verdict.FAIL

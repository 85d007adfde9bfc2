from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.app.latency import latency, percentile

TIMES = st.lists(st.floats(min_value=0, max_value=1e6, allow_nan=False), min_size=1, max_size=300)


def test_nearest_rank() -> None:
    ordered = [float(n) for n in range(1, 101)]
    assert [percentile(ordered, p) for p in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0], 50) == 1.0


def test_nothing_has_no_statistics() -> None:
    assert latency([]) is None
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(TIMES)
def test_percentiles_are_times_that_were_measured_and_in_order(times: list[float]) -> None:
    found = latency(times)
    assert found is not None
    assert {found.p50, found.p90, found.p99, found.maximum} <= set(times)
    assert min(times) <= found.p50 <= found.p90 <= found.p99 <= found.maximum == max(times)
    below = sum(time <= found.p90 for time in times)
    assert below >= 0.9 * len(times)

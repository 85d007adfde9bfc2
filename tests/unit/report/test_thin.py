import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.report.thin import thin, with_gaps

POINTS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400).map(
    lambda values: [(float(n), value) for n, value in enumerate(values)]
)


@given(POINTS, st.integers(1, 60))
def test_ends_and_extremes_stay_and_the_order_of_time_too(points: list, buckets: int) -> None:
    kept = thin(points, buckets)
    assert len(kept) <= max(len(points) if len(points) <= 2 * buckets else 0, 2 * buckets + 2)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert {points[0], points[-1]} <= set(kept)
    values = [value for _, value in points]
    assert {min(values), max(values)} <= {value for _, value in kept}


def test_a_gap_stays_a_gap() -> None:
    points = [(float(n), None if 40 <= n < 60 else float(n)) for n in range(100)]
    assert any(value is None and 40 <= time < 60 for time, value in thin(points, 10))


def test_no_bucket_is_no_thinning() -> None:
    with pytest.raises(ValueError, match="no bucket"):
        thin([(0.0, 1.0)], 0)


def test_where_samples_are_missing_there_is_a_gap() -> None:
    points = [(float(n), 1.0) for n in (0, 5, 10, 15, 60, 65)]
    assert with_gaps(points) == [*points[:4], (37.5, None), *points[4:]]
    assert with_gaps(points[:2]) == points[:2]

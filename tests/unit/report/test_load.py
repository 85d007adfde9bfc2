from typing import Any

from meshlab.report.load import load_html

LOAD: dict[str, Any] = {
    "asked_rate": 100.0, "reached_rate": 71.5, "saturated": True, "connections": 8, "pods": 2, "seconds": 30,
    "requests": 2145, "errors": 5, "statuses": {"200": 2140, "503": 5}, "p50_ms": 22.8, "p90_ms": 24.0,
    "p99_ms": 131.0, "p99.9_ms": 140.0, "least_ms": 18.4, "mean_ms": 23.1, "most_ms": 141.2,
    "histogram": [[18.4, 20, 245], [20, 25, 1800], [120, 141.2, 100]],
}  # fmt: skip


def test_asked_and_reached_rate_stand_side_by_side_and_each_bucket_with_its_number() -> None:
    told = load_html(LOAD)
    for text in ("100 requests/s", "71.5 requests/s, saturated", "8 from 2 pods", "5 × 503", "131 ms"):
        assert text in told
    assert told.count("<rect") == 3 and "1800 from 20 to 25 ms" in told
    assert "warm-up" not in told


def test_the_warm_up_stands_apart_and_a_closed_loop_asks_for_no_rate() -> None:
    warmup = {**LOAD, "requests": 99, "asked_rate": None, "saturated": False, "reached_rate": 33.0}
    told = load_html({**LOAD, "warmup": warmup})
    assert "warm-up" in told and "as many as it could" in told and "33 requests/s" in told
    assert told.count("<rect") == 3, "its times are in no histogram"


def test_a_run_without_one_has_no_such_section() -> None:
    assert load_html(None) == ""

"""Tables of single parts: numbers are readable, and each value has its column."""

from __future__ import annotations

import pytest

from benchmarks.tables import cluster_table, first_run_table, hand_table, number


@pytest.mark.parametrize(
    ("value", "written"), [(0.0123, "0.0123"), (1.2345, "1.23"), (99.94, "99.9"), (1114.14, "1114")]
)
def test_a_number_is_written_as_a_person_would(value: float, written: str) -> None:
    assert number(value) == written


def test_the_longest_steps_of_the_lab_stand_beside_those_by_hand() -> None:
    lines = hand_table({"up": 2.4, "whole": 90.0}, {"label": 0.1, "fast-load": 20.0, "install-istio": 14.0})
    assert lines[-2:] == ["| up | 2.4 | fast-load | 20 |", "| whole | 90 | install-istio | 14 |"]
    assert hand_table({"up": 2.4, "whole": 90.0}, {"a": 1.0})[-1] == "| whole | 90 |  |  |"


def test_a_first_run_tells_its_stages_and_what_its_end_waited_for() -> None:
    stage = {
        "seconds": 548.4,
        "lookup": 27.2,
        "packages_cpu": 952.0,
        "links_cpu": 37.2,
        "idle_cpu": 107.6,
        "gogc": "400",
    }
    path = [{"step": "start-cluster", "seconds": 588.6}, {"step": "label-namespace", "seconds": 0.1}]
    lines = first_run_table({"cluster": stage}, path)
    assert "| cluster | 548 | 27.2 | 952 | 37.2 | 108 |" in lines
    assert "start-cluster 589" in lines[-1]
    assert "label-namespace" not in lines[-1]


def test_the_cluster_alone_stands_beside_the_step() -> None:
    lines = cluster_table(
        {"up": [2.8, 3.0, 3.1], "bookinfo": [6.0], "down": [0.9], "step": [10.0, 9.0, 11.0]}
    )
    assert "| 3 | 2.8, 3, 3.1 |" in lines[2] and "| 10 | 10, 9, 11 |" in lines[-1]

"""What moved between two readings belongs to its edge, and a counter that fell is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshlab.core.errors import WaitTimeout
from meshlab.envoy.stats import Sample
from meshlab.security.mtls.counters import counted, read_counters
from tests.fakes.clock import FakeClock
from tests.unit.security.mtls.fixtures import SPIFFE, edges

EDGE = edges()[0]


def sample(reporter: str, value: float, **labels: str) -> Sample:
    base = {"reporter": reporter, "source_workload": "sleep", "source_workload_namespace": "default"}
    base |= {"destination_workload": "productpage-v1", "response_code": "200"}
    if reporter == "destination":
        base |= {
            "connection_security_policy": "mutual_tls",
            "source_principal": f"{SPIFFE}sleep",
            "destination_principal": f"{SPIFFE}bookinfo-productpage",
        }
    return Sample("istio_requests_total", base | labels, value, "istio_requests_total")


class Reader:
    """Stands in for SidecarReader: pod → its samples, one list per read."""

    def __init__(self, *reads: dict[str, list[Sample]]) -> None:
        self.reads, self.asked = list(reads), 0

    def stats(self, pod: str, names: tuple[str, ...]) -> tuple[Sample, ...]:
        read = self.reads[min(self.asked // 2, len(self.reads) - 1)]  # two pods are asked in each read
        self.asked += 1
        return tuple(read.get(pod, ()))


def reading(*samples: Sample):
    return {(EDGE.name, each.get("reporter"), each.series): each for each in samples}


def test_the_window_is_what_moved() -> None:
    before = reading(sample("source", 10), sample("destination", 10))
    after = reading(
        sample("source", 15),
        sample("destination", 14),
        sample("destination", 1, connection_security_policy="none", source_principal=""),
    )
    [found] = counted([EDGE], before, after)
    assert (found.sent, found.mutual, found.received) == (5, 4, {"mutual_tls": 4, "none": 1})
    assert (f"{SPIFFE}sleep", f"{SPIFFE}bookinfo-productpage") in found.identities
    assert found.falls == () and found.codes == {"200": 5}


def test_series_that_stood_still_prove_no_identity() -> None:
    same = reading(sample("source", 10), sample("destination", 10))
    [found] = counted([EDGE], same, same)
    assert (found.sent, found.mutual, found.identities) == (0, 0, ())


def test_a_counter_that_fell_or_vanished_voids_the_window() -> None:
    before = reading(sample("source", 10), sample("destination", 10))
    for after in (reading(sample("source", 11), sample("destination", 3)), reading(sample("source", 11))):
        [found] = counted([EDGE], before, after)
        assert len(found.falls) == 1 and "destination" in found.falls[0]


def test_counters_are_read_until_they_stand_still_and_others_do_not_count() -> None:
    strangers = [
        sample("source", 99, destination_workload="details-v1"),
        sample("source", 99, source_workload="other"),
    ]
    moving = {"sleep-0": [sample("source", 1), *strangers], "productpage-v1-0": [sample("destination", 1)]}
    still = {"sleep-0": [sample("source", 2), *strangers], "productpage-v1-0": [sample("destination", 2)]}
    found = read_counters(Reader(moving, still, still), [EDGE], clock=FakeClock())
    assert sorted(each.value for each in found.values()) == [2, 2]


def test_counters_that_go_on_moving_are_told() -> None:
    class Moving(Reader):
        def stats(self, pod: str, names: tuple[str, ...]) -> tuple[Sample, ...]:
            self.asked += 1
            return (replace(sample("source", self.asked)),)

    with pytest.raises(WaitTimeout, match="counters to stand still"):
        read_counters(Moving({}), [EDGE], timeout=3, clock=FakeClock())

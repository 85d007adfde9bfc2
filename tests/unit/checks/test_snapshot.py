import pytest

from meshlab.checks import snapshot
from meshlab.checks.snapshot import Snapshot, is_pair, take_scraped, take_snapshot
from meshlab.core.errors import QueryError, WaitTimeout
from meshlab.envoy.admin import Attempts
from meshlab.envoy.stats import Sample
from meshlab.istio.mesh import Mesh
from meshlab.kube.pods import PodSummary
from tests.fakes.clock import FakeClock
from tests.fakes.prometheus import FakePrometheus
from tests.unit.checks.pods import pod

SERVICE = "productpage.default.svc.pasta.local"
MESH = Mesh("default", cluster_domain="pasta.local")


def sample(reporter: str, value: float = 1.0, **changes: str) -> Sample:
    labels = {
        "reporter": reporter,
        "source_workload": "sleep",
        "source_workload_namespace": "default",
        "destination_app": "productpage",
        "destination_service_name": "productpage",
        "response_code": "200",
        **changes,
    }
    return Sample("istio_requests_total", labels, value, "istio_requests_total")


class FakeKube:
    """Two pods; refuses other selectors."""

    def __init__(self) -> None:
        self.pods_of = {"app=sleep": [pod("sleep-1")], "app=productpage": [pod("productpage-1", restarts=1)]}

    def pods(self, namespace: str | None, selector: str | None = None) -> list[PodSummary]:
        assert namespace == "default"
        return self.pods_of[selector or ""]


class FakeReader:
    """Sidecars whose counters grow until a time of the clock."""

    def __init__(self, clock: FakeClock, until: float) -> None:
        self.clock, self.until = clock, until

    def stats(self, name: str) -> tuple[Sample, ...]:
        count = min(self.clock.now(), self.until)
        if name == "sleep-1":
            return (sample("source", count), sample("source", 9.0, destination_service_name="details"))
        assert name == "productpage-1"
        return (sample("destination", count), sample("destination", 5.0, source_workload="unknown"))

    def attempts(self, name: str, service: str) -> tuple[Attempts, ...]:
        assert (name, service) == ("sleep-1", SERVICE)
        return (Attempts("outbound|9080||x", "10.0.0.9:9080", int(min(self.clock.now(), self.until)), 0, 0),)


@pytest.mark.parametrize(
    ("reporter", "changes", "counts"),
    [
        ("source", {}, True),
        ("destination", {}, True),
        ("source", {"destination_app": ""}, True),  # no endpoint was reached, but the service was called
        ("destination", {"destination_service_name": ""}, True),
        ("source", {"destination_service_name": "details"}, False),
        ("destination", {"source_workload": "istio-ingressgateway"}, False),
        ("destination", {"source_workload_namespace": "other"}, False),
        ("destination", {"reporter": "source"}, False),
    ],
)
def test_only_the_calls_of_our_sleep_count(reporter: str, changes: dict, counts: bool) -> None:
    assert is_pair(sample(**{"reporter": reporter, **changes}), reporter, "default") is counts  # type: ignore[arg-type]


def test_a_snapshot_is_taken_when_two_reads_agree() -> None:
    clock = FakeClock()
    taken = take_snapshot(FakeKube(), FakeReader(clock, until=4.0), MESH, clock=clock)  # type: ignore[arg-type]
    assert clock.now() == 4.5
    assert taken.totals() == {("source", "200"): 4.0, ("destination", "200"): 4.0}
    assert taken.pods == {
        "sleep-1": "uid-sleep-1, 0 restarts",
        "productpage-1": "uid-productpage-1, 1 restarts",
    }
    assert taken.attempts[0].total == 4
    assert taken.family == ("istio_requests_total",)


def test_counters_that_go_on_moving_are_no_snapshot() -> None:
    clock = FakeClock()
    with pytest.raises(WaitTimeout, match="the counters of sleep and productpage to stand still"):
        take_snapshot(FakeKube(), FakeReader(clock, until=999.0), MESH, timeout=10, clock=clock)  # type: ignore[arg-type]


def test_a_missing_pod_is_named() -> None:
    kube = FakeKube()
    kube.pods_of["app=productpage"] = [pod("productpage-1", deleting=True)]
    with pytest.raises(QueryError, match="there is no pod with app=productpage in default"):
        snapshot.read_once(kube, FakeReader(FakeClock(), 1.0), MESH)  # type: ignore[arg-type]


def scraped_world(clock: FakeClock, until: float) -> FakePrometheus:
    prometheus = FakePrometheus(clock)
    for name, reporter in (("sleep-1", "source"), ("productpage-1", "destination"), ("old-1", "source")):
        prometheus.add(lambda t: min(t, until), **sample(reporter).labels, pod=name)
        prometheus.add(1.0, __name__="up", pod=name, namespace="default")
    return prometheus


AFTER = Snapshot(0.0, {"sleep-1": "a", "productpage-1": "b"}, (), ())


def test_prometheus_is_read_after_two_scrapes_that_agree() -> None:
    clock = FakeClock(start=31.0)
    found = take_scraped(scraped_world(clock, until=30.0), AFTER, "default", clock=clock)
    assert found.totals == {
        ("source", "200"): 30.0,
        ("destination", "200"): 30.0,
    }  # the pod that is gone is left out
    assert found.scrapes == 2
    assert clock.now() >= 40.0


def test_a_counter_that_prometheus_does_not_have_counts_as_zero() -> None:
    clock = FakeClock(start=31.0)
    prometheus = scraped_world(clock, until=30.0)
    prometheus.found = [s for s in prometheus.found if s.labels.get("reporter") != "destination"]
    found = take_scraped(prometheus, AFTER, "default", clock=clock)
    assert found.totals == {("source", "200"): 30.0}
    assert found.scrapes == 2


def test_what_never_settles_is_returned_as_it_is() -> None:
    clock = FakeClock(start=31.0)
    found = take_scraped(scraped_world(clock, until=999.0), AFTER, "default", timeout=12, clock=clock)
    assert found.totals["source", "200"] == 40.0


def test_a_counter_that_fell_and_rose_again_is_told() -> None:
    clock = FakeClock(start=31.0)
    prometheus = FakePrometheus(clock)
    for name, reporter in (("sleep-1", "source"), ("productpage-1", "destination")):
        prometheus.add(
            lambda t, who=reporter: 20.0 + t if t < 12 or who == "source" else t,
            **sample(reporter).labels,
            pod=name,
        )
        prometheus.add(1.0, __name__="up", pod=name, namespace="default")
    before, after = Snapshot(0.0, {}, (), ()), Snapshot(26.0, AFTER.pods, (), ())
    found = take_scraped(prometheus, after, "default", before=before, timeout=12, clock=clock)
    (fall,) = found.falls
    assert "productpage-1, destination reporter, code 200" in fall and "30 to 15" in fall
    late = Snapshot(16.0, {}, (), ())  # the fall was before the window
    assert take_scraped(prometheus, after, "default", before=late, timeout=12, clock=clock).falls == ()


def test_a_counter_that_vanished_and_was_born_again_is_told() -> None:
    clock = FakeClock(start=31.0)
    prometheus = FakePrometheus(clock)
    prometheus.add(1.0, __name__="up", pod="sleep-1", namespace="default")
    prometheus.add(lambda t: None if 12 < t < 22 else 1.0, **sample("source").labels, pod="sleep-1")
    before, after = Snapshot(0.0, {}, (), ()), Snapshot(26.0, {"sleep-1": "a"}, (), ())
    found = take_scraped(prometheus, after, "default", before=before, timeout=12, clock=clock)
    [fall] = found.falls
    assert "sleep-1, source reporter, code 200" in fall and "2 scrapes" in fall

import pytest

from meshlab.checks.targets import targets
from meshlab.core.errors import QueryError, WaitTimeout
from meshlab.observability.addons.query import Target
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.prometheus import FakePrometheus
from tests.unit.checks.pods import pod

PODS = [
    pod("sleep-1"),
    pod("istiod-1", namespace="istio-system", containers=("discovery",), labels={"app": "istiod"}),
    pod("job-1", containers=("app",)),
]


def target(job: str, instance: str = "x", pod_name: str = "", health: str = "up", error: str = "") -> Target:
    return Target(
        job, instance, pod_name, "default", health, error, 0.0, f"http://{job}/{instance}{pod_name}"
    )


ALL = [
    target("kubernetes-pods", "10.0.0.1:15020", "sleep-1"),
    target("kubernetes-pods", "10.0.0.2:15014", "istiod-1"),
    target("kubernetes-nodes", "node-1"),
    target("kubernetes-nodes-cadvisor", "node-1"),
    target("kubernetes-apiservers"),
    target("prometheus"),
]


class Scraping(FakePrometheus):
    """Every target was scraped at the last multiple of the interval."""

    def targets(self) -> list[Target]:
        last = self.time - self.time % self.interval
        return [Target(**{**vars(t), "last_scrape": last}) for t in self.scraped]


def prometheus(*found: Target, clock: FakeClock) -> FakePrometheus:
    return Scraping(clock, scraped=list(found))


def test_every_target_is_up_over_two_scrapes() -> None:
    clock = FakeClock(start=1.0)
    result = targets(prometheus(*ALL, clock=clock), PODS, ["node-1"], clock=clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary == "6 of 6 targets up, all 6 expected ones twice"
    assert clock.now() >= 5  # it saw the next scrape
    assert result.evidence["by_job"]["kubernetes-pods"] == 2


def test_missing_and_down_targets_are_named() -> None:
    clock = FakeClock()
    found = [target("kubernetes-pods", "10.0.0.1:15020", "sleep-1", "down", "connection refused"), *ALL[2:]]
    result = targets(prometheus(*found, clock=clock), PODS, ["node-1", "node-2"], timeout=10, clock=clock)
    assert result.verdict is Verdict.FAIL
    assert result.evidence["problems"] == [
        "pod istiod-1 is no target",
        "pod sleep-1 is down: connection refused",
        "kubernetes-nodes node-2 is no target",
        "kubernetes-nodes-cadvisor node-2 is no target",
    ]


def test_an_instance_of_no_interest_that_is_down_is_only_named() -> None:
    clock = FakeClock(start=1.0)
    found = [*ALL, target("kubernetes-pods", "10.0.0.9:1", "other-1", "down", "x")]
    result = targets(prometheus(*found, clock=clock), PODS, ["node-1"], clock=clock)
    assert result.verdict is Verdict.PASS
    assert "1 other" in result.summary
    assert result.evidence["others_down"] == ["kubernetes-pods 10.0.0.9:1"]


def test_a_target_that_is_scraped_once_is_not_enough() -> None:
    clock = FakeClock()
    fake = FakePrometheus(clock, scraped=[Target(**{**vars(t), "last_scrape": 7.0}) for t in ALL])
    result = targets(fake, PODS, ["node-1"], timeout=10, clock=clock)
    assert result.verdict is Verdict.FAIL
    assert "istiod-1" in (result.reason or "")


def test_a_prometheus_that_stops_answering_is_not_judged_by_what_it_said_before() -> None:
    clock = FakeClock()

    class Leaving(FakePrometheus):
        def targets(self) -> list[Target]:
            if clock.now() > 3:
                raise QueryError("no pod of it is Ready")
            return super().targets()

    with pytest.raises(WaitTimeout, match="no pod of it is Ready"):
        targets(Leaving(clock, scraped=list(ALL)), PODS, ["node-1"], timeout=10, clock=clock)


def test_no_pod_of_the_mesh_is_no_pass() -> None:
    clock = FakeClock(start=1.0)
    result = targets(prometheus(*ALL[2:], clock=clock), [], ["node-1"], timeout=10, clock=clock)
    assert "nothing was checked" in (result.reason or "")


def test_of_a_prometheus_of_somebody_else_sidecars_alone_are_expected() -> None:
    clock = FakeClock(start=1.0)
    found = [target("podMonitor/mesh", "10.0.0.1:15090", "sleep-1"), target("etcd", health="down")]
    result = targets(prometheus(*found, clock=clock), PODS, None, clock=clock)
    assert result.verdict is Verdict.PASS, result.reason
    assert result.evidence["others_down"] == ["etcd x"]
    result = targets(prometheus(*found[1:], clock=clock), PODS, None, timeout=10, clock=clock)
    assert result.verdict is Verdict.FAIL
    assert result.evidence["problems"] == ["pod sleep-1 is no target"]

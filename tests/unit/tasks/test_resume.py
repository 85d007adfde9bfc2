"""Which kept results a run that goes on uses: steps are run by `lab_task` against a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.lifecycle import resume
from meshlab.run.journal import RunRef, create, read_journal, record
from meshlab.run.results import CheckResult, Verdict
from tasks import resume as resume_tasks
from tasks.common import lab_task
from tasks.resume import any_value, checks_passed, done_before, prometheus_told
from tests.fakes.kube import FakeKube, make_pod
from tests.fakes.mesh import make_object

CLUSTER = ClusterRef("local", "blue", Path("/k"), "blue")
CONFIG = LabConfig()


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKube]:
    system = make_object("v1", "Namespace", "kube-system")
    system["metadata"]["uid"] = "u7"
    fake = FakeKube([system, make_pod("sleep-1")])
    monkeypatch.setattr(resume_tasks, "kube_of", lambda cluster: fake)
    yield fake


class Steps:
    """Steps of one run; `made` are those whose work was done, in order. checks: step → its check's verdict."""

    def __init__(self, run: RunRef) -> None:
        self.run, self.made, self.checks = run, list[str](), dict[str, str]()

    def load(self, name: str) -> int:
        return self._step(name, lambda: len(self.made), int, any_value)

    def check(self, name: str) -> list[CheckResult]:
        verdict = Verdict(self.checks.get(name, "pass"))
        return self._step(
            name,
            lambda: [CheckResult("app.bookinfo", "Bookinfo", verdict, "seen")],
            list[CheckResult],
            checks_passed,
        )

    def strict(self) -> object:
        return self._step("begin-strict", object, object, any_value, in_process=True)

    def removal(self, name: str) -> str:
        return self._step(name, lambda: name, str, None, teardown=True)

    def _step(
        self, name: str, work: Callable[[], Any], kind: Any, holds: resume.Verify | None, **how: bool
    ) -> Any:
        def body(run: RunRef, config: LabConfig, cluster: ClusterRef) -> Any:
            self.made.append(name)
            return work()

        body.__annotations__["return"] = kind
        return lab_task(name, verify=holds, depends_on_pods=True, **how)(body).fn(self.run, CONFIG, CLUSTER)

    def cut_off(self, *begun: str) -> None:
        """The run is killed in these steps, and goes on."""
        for name in begun:
            record(self.run, {"event": "step", "name": name, "state": "started", "attempts": 1})
        self.made.clear()
        resume.begin(self.run)


@pytest.fixture
def steps(tmp_path: Path, kube: FakeKube) -> Steps:
    return Steps(create(tmp_path, "full-lab"))


def phase(steps: Steps, names: Sequence[str]) -> list[str]:
    """Run these steps of the load phase, in order; those whose work was done."""
    for name in names:
        (steps.check if name.startswith("check-") else steps.load)(name)
    return steps.made


def test_load_that_was_cut_off_costs_the_counts_before_it_and_nothing_else(steps: Steps) -> None:
    before = ["check-app", "count-requests", "begin-phase", "check-prometheus"]
    phase(steps, before)
    steps.cut_off("mixed-traffic", "fast-load", "check-dashboards")
    assert phase(steps, [*before, "mixed-traffic", "fast-load"]) == [
        "count-requests",
        "mixed-traffic",
        "fast-load",
    ]


def test_load_whose_checks_were_made_is_not_sent_again(steps: Steps) -> None:
    whole = ["count-requests", "check-prometheus", "check-dashboards", "fast-load", "mixed-traffic"]
    phase(steps, [*whole, "check-graph"])
    steps.cut_off("reconcile")
    assert phase(steps, whole) == []
    assert steps.load("fast-load") == 4, "what it had kept"


def test_a_check_that_failed_is_made_again_under_load(steps: Steps) -> None:
    whole = ["count-requests", "fast-load", "check-prometheus", "check-dashboards"]
    steps.checks["check-prometheus"] = "fail"
    phase(steps, whole)
    steps.cut_off()
    steps.checks.clear()
    assert phase(steps, whole) == ["count-requests", "fast-load", "check-prometheus"]


STAGES = ["check-mtls", "check-authz", "check-ingress", "check-egress", "check-audit"]


def test_strict_is_demanded_again_for_what_is_still_to_be_checked_only(steps: Steps, kube: FakeKube) -> None:
    value = steps.strict()
    phase(steps, STAGES[:2])
    steps.cut_off("check-ingress")
    assert done_before(steps.run, CONFIG, kube, "check-mtls")  # type: ignore[arg-type]
    assert not done_before(steps.run, CONFIG, kube, "check-audit")  # type: ignore[arg-type]
    assert steps.strict() is not value and phase(steps, STAGES) == ["begin-strict", *STAGES[2:]]
    steps.load("end-strict")
    assert steps.made[-1] == "end-strict"
    steps.cut_off("list-istio")
    assert steps.strict() is None and phase(steps, STAGES) == []
    steps.load("end-strict")
    assert steps.made == []


def test_checks_of_pods_that_are_gone_are_made_again_and_so_is_what_they_need(
    steps: Steps, kube: FakeKube
) -> None:
    steps.strict()
    phase(steps, STAGES)
    steps.load("end-strict")
    steps.cut_off()
    [key] = [key for key in kube.store if key[1] == "Pod"]
    kube.store[key]["metadata"]["uid"] = "another"
    assert not done_before(steps.run, CONFIG, kube, "check-mtls")  # type: ignore[arg-type]
    assert steps.strict() is not None
    assert phase(steps, STAGES) == ["begin-strict", *STAGES]
    steps.load("end-strict")
    assert steps.made[-1] == "end-strict", "what was begun again is ended again"


def test_a_run_that_was_leaving_goes_on_there_and_does_not_ask_the_cluster(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.removal("uninstall-istio")
    steps.cut_off()
    assert steps.removal("uninstall-istio") and steps.made == ["uninstall-istio"], "it was not leaving"
    resume.leave(steps.run, stopped=False)
    steps.cut_off("check-uninstall")
    monkeypatch.setattr(resume_tasks, "kube_of", lambda cluster: pytest.fail("the cluster may be gone"))
    assert steps.removal("uninstall-istio") == "uninstall-istio" and steps.made == []
    assert steps.removal("check-uninstall") and steps.made == ["check-uninstall"]
    told = [event for event in read_journal(steps.run) if event["event"] == "resume"]
    assert [(each["trusted"], each["redone"]) for each in told] == [
        (False, True),
        (True, False),
        (False, False),
    ]


def test_a_phase_that_began_without_prometheus_is_begun_again(kube: FakeKube) -> None:
    assert "could not be asked" in prometheus_told(kube, CONFIG, None)  # type: ignore[arg-type]
    assert prometheus_told(kube, CONFIG, object()) == ""  # type: ignore[arg-type]

"""Restarts under load: what fails, why, and what a run without failures must have seen to be believed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.loop import Request
from meshlab.checks.live_restarts import JobEnded, Restarted, run_job
from meshlab.checks.restarts import attribute, no_failed_request
from meshlab.config.settings import Machine
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod

T0 = datetime(2026, 11, 28, tzinfo=UTC)
BEGUN, READY, GONE = (T0 + timedelta(seconds=s) for s in (2, 6, 9))
DONE = JobEnded("Complete", sidecar=True, native=True)


def sent(*failed_at: float, seconds: float = 12, status: str = "503") -> tuple[Request, ...]:
    """20 requests/s; those whose second is named failed."""
    return tuple(
        Request(n + 1, status if n / 20 in failed_at else "200", 10.0, T0 + timedelta(seconds=n / 20), 0)
        for n in range(int(seconds * 20))
    )


def one(*failed_at: float, refused: int = 0, **flags: int) -> Restarted:
    return Restarted(
        "details-v1", "http://details:9080/details/0", sent(*failed_at), BEGUN, READY, GONE, 1, flags, refused
    )


def test_without_a_failure_it_passes_with_numbers() -> None:
    found = no_failed_request([one(), replace(one(), workload="ratings-v1")], DONE)
    assert found.verdict is Verdict.PASS, found
    assert "0 of 480 requests failed" in found.summary and "20 requests/s" in found.summary
    first, _ = found.evidence["workloads"]
    assert (first["new pod Ready after"], first["old pod gone after"], first["new pods"]) == (4.0, 7.0, 1)
    json.dumps(found.as_json())


@pytest.mark.parametrize(
    ("restarted", "causes"),
    [
        (one(7, UF=1), ["drain: the old pod was going"]),
        (one(7, refused=1, UF=1), ["readiness: a new pod was Ready and did not answer"]),
        (one(3, 4, UH=2), ["readiness: there was no endpoint"] * 2),
        (one(7, 7.5, URX=1), ["retries: used up", "drain: the old pod was going"]),
        (one(3), ["before a new pod was Ready"]),
        (one(11), ["after the old pod was gone"]),
    ],
)
def test_every_failed_request_has_a_cause(restarted: Restarted, causes: list[str]) -> None:
    assert list(attribute(restarted).values()) == causes
    found = no_failed_request([restarted], DONE)
    assert found.verdict is Verdict.FAIL and causes[0] in found.summary
    assert [row["cause"] for row in found.evidence["failed requests"]] == causes
    assert all(row["seconds after the restart began"] > 0 for row in found.evidence["failed requests"])


def test_one_failed_request_is_too_many() -> None:
    found = no_failed_request([one(7)], DONE)
    assert found.verdict is Verdict.FAIL and "1 request of 240 failed" in found.summary


@pytest.mark.parametrize(
    ("restarted", "says"),
    [
        ([], "no workload was restarted"),
        ([one(1)], "failed before its restart"),
        ([replace(one(), replaced=0)], "none of its pods is new"),
        ([replace(one(), requests=sent()[::10])], "only 2.1 requests/s"),
        ([replace(one(), requests=sent()[60:])], "no request was sent before"),
    ],
)
def test_without_its_controls_it_proves_nothing(restarted: Sequence[Restarted], says: str) -> None:
    found = no_failed_request(restarted, DONE)
    assert found.verdict is Verdict.BROKEN and says in str(found.reason)


def test_a_cut_off_count_is_no_pass() -> None:
    assert (
        no_failed_request([replace(one(), errors=("a line is lost",))], DONE).verdict is Verdict.INFRA_ERROR
    )
    assert no_failed_request([replace(one(7), errors=("a line is lost",))], DONE).verdict is Verdict.FAIL


@pytest.mark.parametrize("condition", ["Failed", ""])
def test_a_job_that_does_not_end_is_a_failure(condition: str) -> None:
    found = no_failed_request([one()], JobEnded(condition, True, False, "meshlab-job-1 is NotReady"))
    assert found.verdict is Verdict.FAIL and "did not end Complete" in found.summary


def test_a_job_without_a_sidecar_proves_nothing() -> None:
    assert no_failed_request([one()], replace(DONE, sidecar=False)).verdict is Verdict.BROKEN


class Jobs(FakeKube):
    """A cluster whose Jobs end at once with this condition."""

    def __init__(self, condition: str) -> None:
        super().__init__([make_pod("meshlab-job-1", namespace="shop", labels={"app": "meshlab-job"})])
        self.condition = condition

    def server_side_apply(self, document: Any, **options: Any) -> dict[str, Any]:
        stored = super().server_side_apply(document, **options)
        if self.condition:
            self.put({**stored, "status": {"conditions": [{"type": self.condition, "status": "True"}]}})
        return stored


@pytest.mark.parametrize("condition", ["Complete", "Failed", ""])
@pytest.mark.parametrize("native", [True, False])
def test_how_a_job_ended(condition: str, native: bool, tmp_path: Path) -> None:
    kube, run = Jobs(condition), create(tmp_path, "test")
    mesh = Mesh("shop", sidecars="native" if native else "container")
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    shown: list[Any] = []

    def images(found: Any) -> list[Any]:
        shown.extend(found)
        return list(found)

    with Changes(kube, ledger, run, clock=FakeClock()) as changes:  # type: ignore[arg-type]
        ended = run_job(kube, changes, mesh, images=images, clock=FakeClock())  # type: ignore[arg-type]
    assert (ended.condition, ended.sidecar, ended.native) == (condition, True, native)
    [container] = shown[0]["spec"]["template"]["spec"]["containers"]
    assert ("quitquitquit" in container["command"][2]) is not native
    assert kube.objects("batch/v1", "Job") == [] and ledger.entries() == ()

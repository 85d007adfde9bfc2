"""A load test is a Job whose pods share the load; what its fortio says counts, and what goes wrong is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.load import Sender, job, run_load
from meshlab.app.load_result import LoadResult
from meshlab.clusters.local import pins
from meshlab.config.settings import LabConfig, Machine
from meshlab.config.settings_load import LoadProfile
from meshlab.core.errors import KubeError, RolloutError, WaitTimeout
from meshlab.kube.changes import Changes
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.unit.app.fortio import FIRST, log, result

PROFILE = LoadProfile(100, 8, 2)
OURS = ("localhost/meshlab/fortio:1234",)
FOUND = result([(0.02, 0.025, 100)])
DONE: dict[str, Any] = {"terminated": {"exitCode": 0}}


class LoadKube(FakeKube):
    """Starts a Job's pods, whose fortio is in `state`. A sidecar goes on after fortio's end."""

    def __init__(self, state: Mapping[str, Any], said: str) -> None:
        super().__init__()
        self.state, self.said = state, said

    def server_side_apply(self, document: Mapping[str, Any], **words: Any) -> dict[str, Any]:
        stored = super().server_side_apply(document, **words)
        template = stored["spec"]["template"]
        for number in range(stored["spec"]["completions"]):
            name = f"{stored['metadata']['name']}-{number}"
            statuses = [
                {"name": "istio-proxy", "state": {"running": {}}, "ready": True},
                {"name": "fortio", "state": dict(self.state), "ready": False, "image": "fortio"},
            ]
            meta = {
                "name": name,
                "namespace": "default",
                "labels": template["metadata"]["labels"],
                "uid": name,
            }
            status = {"containerStatuses": statuses}
            self.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": meta,
                    "spec": template["spec"],
                    "status": status,
                }
            )
            self.logs[name, "fortio", False] = self.said
        return stored


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = create(tmp_path / "runs", "full-lab")
    return lambda kube: Changes(kube, Ledger.open(Machine.here(), run), run, clock=FakeClock())


def load(kube: FakeKube, changes: Any, pods: int = 2) -> LoadResult:
    with changes(kube) as made:
        return run_load(
            kube,
            made,
            LabConfig(),
            Sender(pods=pods),
            PROFILE,
            OURS,
            clock=FakeClock(),  # type: ignore[arg-type]
        )


def test_the_pods_share_rate_and_connections_and_what_they_found_adds_up(changes: Any) -> None:
    kube = LoadKube(DONE, log(FOUND))
    found = load(kube, changes)
    assert (found.requests, found.pods, found.reached, found.errors) == (200, 2, 100, 0)
    assert kube.calls == [("apply", "Job", "meshlab-load"), ("delete", "Job", "meshlab-load")]


def test_the_job_says_what_fortio_shall_do() -> None:
    made = job(Sender(pods=2), PROFILE, "shop")
    spec = made["spec"]["template"]["spec"]
    words = spec["containers"][0]["args"]
    told = dict(pairwise(words))
    assert (words[0], told["-qps"], told["-c"], told["-t"]) == ("load", "50", "4", "2s")
    assert words[-1] == "http://productpage:9080/productpage"
    assert (made["spec"]["parallelism"], made["spec"]["completions"]) == (2, 2)
    assert made["metadata"]["namespace"] == "shop" and made["spec"]["backoffLimit"] == 0
    assert "sidecar.istio.io/inject" not in made["spec"]["template"]["metadata"]["labels"]


def test_a_closed_loop_sends_as_fast_as_it_can_and_a_sender_may_have_no_sidecar() -> None:
    made = job(Sender(sidecar=False), LoadProfile(None, 4, 90), "shop")
    words = made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert words[1:7] == ["-qps", "0", "-c", "4", "-t", "90s"]
    assert made["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_the_official_image_is_the_version_that_is_compiled() -> None:
    image = job(Sender(), PROFILE, "shop")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"fortio/fortio:{pins.requirements('fortio')['fortio.org/fortio'].removeprefix('v')}"


def test_a_fortio_that_fails_is_told_with_its_last_words(changes: Any) -> None:
    kube = LoadKube({"terminated": {"exitCode": 1}}, "Aborting because of error on -c")
    with pytest.raises(KubeError, match=r"exit code 1.*Aborting because"):
        load(kube, changes)
    assert kube.calls[-1] == ("delete", "Job", "meshlab-load")


@pytest.mark.parametrize(("said", "named"), [(FIRST, "no result"), (log(result([])), "no request")])
def test_an_end_without_a_number_is_an_error(changes: Any, said: str, named: str) -> None:
    with pytest.raises(KubeError, match=named):
        load(LoadKube(DONE, said), changes)


def test_a_pod_that_can_t_start_is_told_with_its_cause(changes: Any) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    with pytest.raises(RolloutError, match=re.compile("image", re.IGNORECASE)):
        load(LoadKube(waiting, ""), changes)


def test_one_that_never_ends_is_given_up(changes: Any) -> None:
    with pytest.raises(WaitTimeout, match="2 pods send, 0 of 2"):
        load(LoadKube({"running": {}}, ""), changes)

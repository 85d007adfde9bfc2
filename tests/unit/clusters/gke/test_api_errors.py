"""Every class of error: what the reader reads, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud.container_v1.types import Cluster, StatusCondition

from meshlab.cli.main import prepare, prepared
from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.core.errors import CloudError, MeshlabError
from meshlab.run.journal import RunRef, create, step
from meshlab.run.result_file import finish
from tests.fakes.gke.books import BadEnd, Fault, Status
from tests.fakes.gke.emulator import Emulator

Make = Callable[..., GkeCluster]
QUOTA = (
    "Insufficient regional quota to satisfy request: resource \"IN_USE_ADDRESSES\": request requires '3.0' and is "
    "short '1.0'. project has a quota of '8.0' with '2.0' available."
)
IAM = 'Required "container.clusters.create" permission(s) for "projects/p".'
DISABLED = "Kubernetes Engine API has not been used in project p before or it is disabled."

# fault of CreateCluster → kind, what the message says, what the remedy says
REFUSALS = {
    "quota": (
        Fault("CreateCluster", Status.RESOURCE_EXHAUSTED, QUOTA),
        "IN_USE_ADDRESSES short by 1 (needs 3 of 8, 2 free)",
        "--set gke.nodes=N",
    ),
    "permission": (
        Fault("CreateCluster", Status.PERMISSION_DENIED, IAM, "IAM_PERMISSION_DENIED"),
        IAM,
        "grant the permission container.clusters.create; the role with all of them is in docs/gke.md",
    ),
    "disabled": (
        Fault("CreateCluster", Status.PERMISSION_DENIED, DISABLED, "SERVICE_DISABLED"),
        DISABLED,
        "gcloud services enable container.googleapis.com",
    ),
    "credentials": (
        Fault("CreateCluster", Status.UNAUTHENTICATED, "Request had invalid authentication credentials."),
        "invalid authentication credentials",
        "gcloud auth application-default login",
    ),
    "precondition": (
        Fault("CreateCluster", Status.FAILED_PRECONDITION, "Network is not ready."),
        "Network is not ready.",
        "run again",
    ),
    "not-found": (
        Fault("CreateCluster", Status.NOT_FOUND, "Not found: projects/p/global/networks/default."),
        "networks/default",
        "--project, --zone",
    ),
    "invalid": (
        Fault("CreateCluster", Status.INVALID_ARGUMENT, "Machine type is invalid."),
        "Machine type is invalid.",
        "correct the setting",
    ),
    "unavailable": (
        Fault("CreateCluster", Status.UNAVAILABLE, "The service is away.", times=10_000),
        "the API does not answer (The service is away.)",
        "--set gke.retry_seconds=N",
    ),
}
# how the operation ends → kind, what the message says, what the remedy says
BAD_ENDS = {
    "stock-out": (BadEnd(), "the zone has no such machines at the moment", "us-central1-a, us-central1-c"),
    "quota": (
        BadEnd(8, QUOTA, StatusCondition.Code.GCE_QUOTA_EXCEEDED),
        "IN_USE_ADDRESSES short by 1",
        "--set gke.nodes=N",
    ),
    "failed": (
        BadEnd(
            13,
            "All cluster resources were brought up, but the nodes did not register.",
            StatusCondition.Code.UNKNOWN,
        ),
        "the nodes did not register",
        "run again",
    ),
}


def run_of(tmp_path: Path, cluster: GkeCluster) -> tuple[RunRef, int, MeshlabError]:
    """The step that makes the cluster, as the flow makes it; returns the run's exit code and the error."""
    run = create(tmp_path / "runs", "full-lab")
    with pytest.raises(MeshlabError) as caught, step(run, "start-cluster"):
        cluster.up()
    return run, finish(run)[0], caught.value


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_creation(provider: Make, emulator: Emulator, tmp_path: Path, kind: str) -> None:
    fault, said, remedy = REFUSALS[kind]
    emulator.books.faults.append(Fault(**vars(fault)))
    run, code, problem = run_of(tmp_path, provider(retry_seconds=0.3))
    assert json.loads((run.directory / "result.json").read_text())["steps"][0]["reason"] == str(problem)
    assert isinstance(problem, CloudError)
    assert (problem.kind, code) == (kind, 3)
    assert said in problem.message and remedy in problem.remedy

    assert problem.retryable is (kind == "unavailable")
    assert emulator.books.left() == {}


@pytest.mark.parametrize("kind", BAD_ENDS)
def test_a_creation_that_fails_half_way(
    provider: Make, emulator: Emulator, tmp_path: Path, kind: str
) -> None:
    end, said, remedy = BAD_ENDS[kind]
    emulator.books.bad_ends.append(end)
    _, code, problem = run_of(tmp_path, provider())
    assert isinstance(problem, CloudError)
    assert (problem.kind, code) == (kind, 3)
    assert said in problem.message and problem.message.endswith("; what was half made is deleted")
    assert remedy in problem.remedy
    assert emulator.books.left() == {}


def test_too_many_requests_a_minute_are_no_quota_of_machines(provider: Make, emulator: Emulator) -> None:
    said = "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute' of service."
    emulator.books.faults.append(Fault("GetCluster", Status.RESOURCE_EXHAUSTED, said, times=2))
    assert provider().up().nodes == 3


def lab(emulator: Emulator, tmp_path: Path, *more: str) -> list[str]:
    words = ["--cluster", "gke", "--project", "p", "--runs-dir", str(tmp_path / "runs")]
    sets = [
        f"gke.api_endpoint={emulator.api}",
        f"gke.compute_endpoint={emulator.compute}",
        "gke.retry_seconds=0.3",
    ]
    return [*words, *(f"--set={each}" for each in sets), *more]


@pytest.mark.parametrize(
    ("fault", "more", "said"),
    [
        (REFUSALS["credentials"][0], (), "gcloud auth application-default login"),
        (REFUSALS["disabled"][0], (), "gcloud services enable container.googleapis.com"),
        (REFUSALS["permission"][0], (), "grant the permission container.clusters.create"),
        (REFUSALS["unavailable"][0], (), "the API does not answer"),
        (None, ("--set=gke.nodes=20",), "CPUS short by 16 (needs 40 of 24, 24 free)"),
        (None, ("--zone=mars-north1-a",), "there is no region mars-north1"),
        (None, ("--set=gke.version=1.21",), "--set gke.version=1.21: us-central1-b does not offer it"),
        (None, ("--set=gke.hours_to_live=100",), "the ceiling is 10.00"),
        (
            None,
            ("--istio-version=1.21.0",),
            "supports Kubernetes 1.26 to 1.29, the cluster has 1.34.1-gke.2037000\n"
            "    remedy: one that fits: 1.30.4, 1.29.9, 1.28.4",
        ),
    ],
)
def test_what_the_preflight_finds_ends_with_2_and_nothing_is_made(
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Fault | None,
    more: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if fault is not None:
        emulator.books.faults.append(
            Fault("GetCluster", fault.code, fault.message, fault.reason, times=10_000)
        )
    with pytest.raises(SystemExit) as ended:
        prepare("lab", "The lab.", lab(emulator, tmp_path, *more))
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert said in text, text
    assert not (tmp_path / "runs").exists() and prepared() is None
    assert emulator.books.left() == {}


def test_a_foreign_cluster_of_that_name_ends_with_2(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    emulator.books.create("projects/p/locations/us-central1-b", Cluster(name="my-istio-cluster"))
    with pytest.raises(SystemExit) as ended:
        prepare("lab", "The lab.", lab(emulator, tmp_path))
    assert ended.value.code == 2
    assert "that this project did not make" in capsys.readouterr().err

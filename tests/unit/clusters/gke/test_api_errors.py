"""Every class of error: what the reader reads, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud.container_v1.types import Cluster, StatusCondition

from meshlab.cli.command import Command
from meshlab.cli.launch import prepared
from meshlab.cli.main import read_command_line
from meshlab.clusters.gke import access
from meshlab.clusters.gke.api import Backoff, GkeApi
from meshlab.clusters.gke.api_errors import refusal
from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.names import Place
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
        Fault(
            "CreateCluster",
            Status.UNAUTHENTICATED,
            "Request had invalid authentication credentials.",
            times=9,
        ),
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
    "policy": (
        Fault(
            "CreateCluster",
            Status.PERMISSION_DENIED,
            "Constraint constraints/compute.vmExternalIpAccess violated for project p.",
        ),
        "constraints/compute.vmExternalIpAccess",
        "organization policy",
    ),
    "project": (
        Fault(
            "CreateCluster",
            Status.PERMISSION_DENIED,
            "Permission denied on resource project q.",
            "CONSUMER_INVALID",
        ),
        "resource project q",
        "--project",
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


# quota refusals as 403, in all wordings → what the message says, what the remedy says
QUOTAS_BY_403 = {
    "regional": (QUOTA, "IN_USE_ADDRESSES short by 1 (needs 3 of 8, 2 free)", "--set gke.nodes=N"),
    "disks": (
        "Insufficient regional quota to satisfy request: resource \"SSD_TOTAL_GB\": request requires '300.0' and is short "
        "'50.0'. project has a quota of '250.0' with '250.0' available.",
        "SSD_TOTAL_GB short by 50 (needs 300 of 250, 250 free)",
        "--set gke.disk_gb=N",
    ),
    "older": ("Quota 'N2_CPUS' exceeded.  Limit: 24.0 in region us-central1.", "N2_CPUS", "gke.machine_type"),
    "project": (
        "Quota 'CPUS_ALL_REGIONS' exceeded.  Limit: 12.0 globally.",
        "CPUS_ALL_REGIONS",
        "gke.nodes=N",
    ),
    "clusters": (
        "Project 1234 cannot create more than 50 clusters in us-central1.",
        "50 clusters",
        "--zone ZONE",
    ),
    "unknown": ("Quota 'T4_GPUS' exceeded. Limit: 0.0", "T4_GPUS", "another region"),
}


@pytest.mark.parametrize("name", QUOTAS_BY_403)
def test_a_quota_that_is_refused_as_a_permission(provider: Make, emulator: Emulator, name: str) -> None:
    text, said, remedy = QUOTAS_BY_403[name]
    emulator.books.faults.append(Fault("CreateCluster", Status.PERMISSION_DENIED, text))
    with pytest.raises(CloudError) as caught:
        provider().up()
    assert caught.value.kind == "quota"
    assert said in caught.value.message and remedy in caught.value.remedy


def test_a_missing_service_account_user_and_a_disabled_service_are_told_by_their_names() -> None:
    act_as = refusal(
        'The user does not have access to service account "default". Ask for iam.serviceAccounts.actAs.'
    )
    assert act_as is not None and "roles/iam.serviceAccountUser" in act_as.remedy
    address = "https://console.developers.google.test/apis/api/cloudresourcemanager.googleapis.com/overview?project=1"
    disabled = refusal(
        f"Cloud Resource Manager API has not been used in project 1. Enable it by visiting {address}"
    )
    assert disabled is not None
    assert disabled.remedy == "enable it: gcloud services enable cloudresourcemanager.googleapis.com"
    assert refusal('Required "container.clusters.create" permission(s).') is None


def test_an_internal_error_is_googles_own_and_its_unknown_condition_says_nothing(
    provider: Make, emulator: Emulator
) -> None:
    emulator.books.bad_ends.append(BadEnd(13, "Internal error.", StatusCondition.Code.UNKNOWN))
    with pytest.raises(CloudError) as caught:
        provider().up()
    assert "UNKNOWN" not in caught.value.message and "another zone" in caught.value.remedy


CALLS_OF_A_LIFE = (
    "GetServerConfig",
    "CreateCluster",
    "GetOperation",
    "GetCluster",
    "ListOperations",
    "DeleteCluster",
)


@pytest.mark.parametrize("method", CALLS_OF_A_LIFE)
@pytest.mark.parametrize(
    "code", [Status.UNAUTHENTICATED, Status.UNKNOWN, Status.UNAVAILABLE], ids=lambda code: code.name
)
def test_every_call_is_made_again_once_its_token_is_new_or_its_connection_is_back(
    provider: Make, emulator: Emulator, method: str, code: Status
) -> None:
    emulator.books.faults.append(Fault(method, code, "Stream removed"))
    cluster = provider()
    assert cluster.up().nodes == 3
    cluster.down()
    assert emulator.books.left() == {}
    assert emulator.books.faults[0].times == 0, "the control: the fault was met"


def test_a_token_that_stays_refused_is_asked_for_anew_once(emulator: Emulator) -> None:
    renewed: list[int] = []
    settings = emulator.settings()
    client, _ = access.connect(settings)
    api = GkeApi(
        client, Place("p", "us-central1-b", "x"), Backoff(0.01, 0.02, 1.0), lambda: renewed.append(1)
    )
    emulator.books.faults.append(Fault("ListClusters", Status.UNAUTHENTICATED, "no", times=2))
    with pytest.raises(CloudError) as caught:
        api.clusters()
    assert (caught.value.kind, renewed, emulator.books.calls) == ("credentials", [1], ["ListClusters"] * 2)


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
def test_labels_of_an_adopted_cluster_whose_answer_is_lost(
    provider: Make, emulator: Emulator, after: bool
) -> None:
    provider("20260102t000000z-bbbb", ledger=False).up()
    emulator.books.faults.append(Fault("SetLabels", Status.UNAVAILABLE, after=after))
    cluster = provider()
    assert cluster.up().adopted
    assert emulator.books.clusters[cluster.place.path].resource_labels["meshlab-run-id"] == cluster.run_id


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
            "    remedy: one that fits: 1.31.1, 1.30.5, 1.29.8, 1.28.10",
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
        read_command_line(Command("lab", "The lab."), lab(emulator, tmp_path, *more))
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
        read_command_line(Command("lab", "The lab."), lab(emulator, tmp_path))
    assert ended.value.code == 2
    assert "that this project did not make" in capsys.readouterr().err

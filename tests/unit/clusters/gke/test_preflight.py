from collections.abc import Callable

import pytest

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.preflight import PERMISSIONS, examine
from meshlab.config.settings import GkeSettings, Machine
from tests.fakes.gke.books import Fault, Status
from tests.fakes.gke.emulator import Emulator


def places(settings: GkeSettings) -> list[str]:
    return [problem.where for problem in examine(settings).problems]


def test_nothing_is_wrong_and_nothing_is_made(emulator: Emulator) -> None:
    found = examine(emulator.settings())
    assert (found.problems, found.version) == ([], "1.34.1-gke.2037000")
    assert emulator.books.left() == {}
    assert not {"CreateCluster", "SetLabels", "DeleteCluster"} & set(emulator.books.calls)


def test_all_problems_at_once(emulator: Emulator) -> None:
    emulator.books.quotas |= {"CPUS": (24, 20), "IN_USE_ADDRESSES": (8, 7)}
    emulator.books.denied = {"container.clusters.delete", "compute.disks.list"}
    found = examine(emulator.settings(version="1.21", network="none", hours_to_live=100)).problems
    assert [problem.where for problem in found] == [
        "--set gke.cost_ceiling",
        "--project",
        "--set gke.version=1.21",
        "quota of us-central1",
        "quota of us-central1",
        "--set gke.network=none",
    ]
    said = "\n".join(map(str, found))
    assert "3 × e2-medium for 100 h may cost 24.16 USD (0.242 an hour), the ceiling is 10.00" in said
    assert "lack 2 permissions in p: compute.disks.list, container.clusters.delete" in said
    assert "one of: latest, 1.34.1-gke.2037000, 1.33.5" in said
    assert "CPUS short by 2 (needs 6 of 24, 4 free)" in said
    assert "IN_USE_ADDRESSES short by 2 (needs 3 of 8, 1 free)" in said
    assert "fewer nodes (--set gke.nodes=N) or a smaller machine (--set gke.machine_type=TYPE)" in said


def test_a_quota_of_the_whole_project_is_asked_for(emulator: Emulator) -> None:
    emulator.books.project_quotas["CPUS_ALL_REGIONS"] = (12, 8)
    [problem] = examine(emulator.settings()).problems
    assert problem.where == "quota of p"
    assert "CPUS_ALL_REGIONS short by 2 (needs 6 of 12, 4 free)" in str(problem)
    assert "gke.nodes=N" in problem.remedy


def test_a_name_of_which_gke_s_own_names_have_only_a_part_is_refused(emulator: Emulator) -> None:
    assert examine(emulator.settings(name="a" * 24)).problems == []
    [problem] = examine(emulator.settings(name="a" * 25)).problems
    assert problem.where == f"--set gke.name={'a' * 25}" and "24 letters" in problem.remedy


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"zone": "us-central1-z"}, "--zone", "one of: us-central1-a, us-central1-b"),
        ({"zone": "mars-north1-a"}, "--zone", "there is no region mars-north1"),
        (
            {"machine_type": "n1-standard-1"},
            "--set gke.machine_type=n1-standard-1",
            "has no such machine type",
        ),
        (
            {"machine_type": "x9-exotic"},
            "--set gke.machine_type=x9-exotic",
            "has no price in our table of 2026-11-23",
        ),
        ({"version": "stable"}, "--set gke.version=stable", "one of: latest, regular"),
    ],
)
def test_what_the_location_does_not_have(
    emulator: Emulator, changes: dict[str, object], where: str, said: str
) -> None:
    found = [problem for problem in examine(emulator.settings(**changes)).problems if problem.where == where]
    assert found and any(said in str(problem) for problem in found)


def test_a_price_may_be_given(emulator: Emulator) -> None:
    assert places(emulator.settings(machine_type="x9-exotic", hourly_price=0.5)) == []


def test_a_region_counts_three_zones(emulator: Emulator) -> None:
    said = "\n".join(str(each) for each in examine(emulator.settings(zone="us-central1")).problems)
    assert "IN_USE_ADDRESSES short by 1 (needs 9 of 8, 8 free)" in said
    assert "SSD_TOTAL_GB short by 400 (needs 900 of 500, 500 free)" in said


def test_autopilot_is_refused_with_the_reason(emulator: Emulator) -> None:
    [problem] = examine(emulator.settings(autopilot=True)).problems
    assert problem.where == "--set gke.autopilot" and "NET_ADMIN" in problem.what
    from google.cloud.container_v1.types import Autopilot, Cluster

    foreign = Cluster(name="my-istio-cluster", autopilot=Autopilot(enabled=True))
    emulator.books.create("projects/p/locations/us-central1-b", foreign)
    [problem] = examine(emulator.settings()).problems
    assert "NET_ADMIN" in problem.what and "--cluster existing" not in problem.remedy


def test_spot_machines_count_in_the_quota_of_their_own_where_there_is_one(emulator: Emulator) -> None:
    emulator.books.quotas["CPUS"] = (4, 0)
    [problem] = examine(emulator.settings(spot=True)).problems
    assert "CPUS short by 2 (needs 6 of 4, 4 free)" in problem.what
    emulator.books.quotas["PREEMPTIBLE_CPUS"] = (5, 0)
    [problem] = examine(emulator.settings(spot=True)).problems
    assert "PREEMPTIBLE_CPUS short by 1 (needs 6 of 5, 5 free)" in problem.what
    emulator.books.quotas["PREEMPTIBLE_CPUS"] = (6, 0)
    assert examine(emulator.settings(spot=True)).problems == []
    assert [problem.what[:4] for problem in examine(emulator.settings()).problems] == ["CPUS"]


@pytest.mark.parametrize("changes", [{"dataplane_v2": True}, {"access": "private"}])
def test_a_network_without_subnets_is_refused_where_pods_need_its_addresses(
    emulator: Emulator, changes: dict[str, object]
) -> None:
    emulator.books.networks["default"] = {"IPv4Range": "10.240.0.0/16"}
    assert places(emulator.settings()) == []
    assert places(emulator.settings(**changes)) == ["--set gke.network=default"]


def test_a_foreign_cluster_of_that_name_is_refused(emulator: Emulator) -> None:
    from google.cloud.container_v1.types import Cluster

    emulator.books.create("projects/p/locations/us-central1-b", Cluster(name="my-istio-cluster"))
    assert places(emulator.settings()) == ["--set gke.name=my-istio-cluster"]


def test_one_of_ours_that_is_held_or_of_another_kind_is_refused_with_who_and_what(
    provider: Callable[..., GkeCluster], emulator: Emulator, machine: Machine
) -> None:
    run = "20260101t000000z-aaaa"
    provider(run).up()
    [problem] = examine(emulator.settings(), machine).problems
    assert problem.what == f"run {run} of this machine holds it and goes on"
    [problem] = examine(emulator.settings(nodes=2)).problems
    assert problem.what == f"the cluster of run {run} is there, with 3 nodes instead of 2"
    assert f"python -m flows.teardown --run {run}" in problem.remedy
    assert examine(emulator.settings()).problems == []


def test_a_disabled_api_is_said_once(emulator: Emulator) -> None:
    said = "Kubernetes Engine API has not been used in project p before or it is disabled."
    for method in ("GetCluster", "GetServerConfig"):
        emulator.books.faults.append(
            Fault(method, Status.PERMISSION_DENIED, said, "SERVICE_DISABLED", times=9)
        )
    [problem] = examine(emulator.settings()).problems
    assert "gcloud services enable container.googleapis.com" in problem.remedy


def test_an_api_that_is_away_does_not_hide_the_rest(emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("GetCluster", times=10_000))
    emulator.books.quotas["CPUS"] = (1, 0)
    found = examine(emulator.settings(retry_seconds=0.3)).problems
    assert [problem.where for problem in found] == ["--cluster gke", "quota of us-central1"]


def test_without_credentials_only_that_can_be_said(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
    [problem] = examine(GkeSettings(project="p")).problems
    assert (
        "no usable credentials" in problem.what and "gcloud auth application-default login" in problem.remedy
    )
    emulator.books.faults.append(Fault("token", Status.UNAUTHENTICATED, "invalid_grant", times=9))
    [problem] = examine(emulator.settings()).problems
    assert "no usable credentials" in problem.what


def test_endpoints_without_tls_are_for_the_loopback_only() -> None:
    found = examine(GkeSettings(project="p", api_endpoint="http://gke.example.org:80")).problems
    assert [problem.where for problem in found] == ["--set gke.api_endpoint"]
    found = examine(GkeSettings(project="p", compute_endpoint="127.0.0.1:80")).problems
    assert [problem.where for problem in found] == ["--set gke.compute_endpoint"]


def test_the_role_in_the_documentation_has_exactly_these_permissions() -> None:
    from pathlib import Path

    import yaml

    page = (Path(__file__).parents[4] / "docs" / "gke.md").read_text(encoding="utf-8")
    [role] = [
        block.partition("```")[0] for block in page.split("```yaml\n")[1:] if "includedPermissions" in block
    ]
    assert sorted(yaml.safe_load(role)["includedPermissions"]) == sorted(PERMISSIONS)

"""A night as a Job on the local cluster: image, roles, job template, worker and deployment as deployments/kubernetes has them.

The worker runs in the cluster with its own account, the night with its own; both may what rbac.yaml says and no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.clusters.local import archives
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.config.settings import LocalSettings, Machine
from meshlab.kube.apply import apply, delete
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from tests.examples.archives import oci_layout
from tests.live.conftest import NAME, NETWORK, ROOT, Ran
from tests.live.prefect_side import Side, serving
from tests.live.run_image import run_image
from tests.live.test_nightly import LONGEST, accepting, kubeconfig_of

pytestmark = [pytest.mark.live, pytest.mark.long]
FOLDER = ROOT / "deployments" / "kubernetes"
IMAGE, NAMED = ("registry.test/mesh-lab", "1"), "mesh-lab:latest"
POOL, RUNS, DEPLOYMENT = "mesh-lab-kubernetes", "mesh-lab-runs", "nightly-validation-job"


@pytest.fixture(scope="module")
def kube(kept_lab: Ran) -> Kube:
    return Kube.connect(kubeconfig_of(kept_lab), None)


@pytest.fixture(scope="module")
def cluster(kept_lab: Ran, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> LocalCluster:
    """The kept lab, with the image of the runs on every node."""
    found = LocalCluster(LocalSettings(name=NAME, network=NETWORK), machine)
    folder = tmp_path_factory.mktemp("image")
    archive = oci_layout(run_image(machine, folder, *IMAGE), folder / "image.tar")
    found.add_archives([archives.read(archive)])
    return found


@pytest.fixture
def deployed(cluster: LocalCluster, kube: Kube, tmp_path: Path) -> Iterator[Side]:
    """What the page in deployments/kubernetes says, in its order, with this image and this server's address."""
    image = ":".join(IMAGE)
    # This machine's end of its link to the cluster: pods reach it, and nobody else does.
    with serving(tmp_path / "prefect", cluster.layout.host_address) as side:
        roles = [each for each in yaml.safe_load_all((FOLDER / "rbac.yaml").read_text()) if each]
        worker = yaml.safe_load((FOLDER / "worker.yaml").read_text().replace(NAMED, image))
        [container] = worker["spec"]["template"]["spec"]["containers"]
        [address] = [each for each in container["env"] if each["name"] == "PREFECT_API_URL"]
        address["value"] = side.url
        template = tmp_path / "template.json"
        template.write_text((FOLDER / "base-job-template.json").read_text().replace(NAMED, image))
        refs = apply(kube, roles)
        try:
            side.prefect(
                "work-pool", "create", POOL, "--type", "kubernetes", "--base-job-template", str(template)
            )
            apply(kube, [worker])
            wait_deployments(kube, RUNS, [worker["metadata"]["name"]], timeout=180)
            file = tmp_path / "prefect.yaml"
            file.write_text(yaml.safe_dump(for_this_mesh()))
            side.prefect("--no-prompt", "deploy", "--prefect-file", str(file), "--all")
            yield side
        finally:
            delete(kube, refs, timeout=180)


def for_this_mesh() -> dict[str, Any]:
    """The deployment as its reader changes it: the mesh's build, and what is known and accepted of it."""
    content = yaml.safe_load((FOLDER / "prefect.yaml").read_text())
    [night] = content["deployments"]
    mesh = {
        name: value
        for name, value in accepting(Path(), Path()).items()
        if name not in ("runs_dir", "history")
    }
    mesh["istio"] = {**mesh["istio"], "istioctl": "/opt/istio/bin/istioctl"}
    night["parameters"]["config"] |= mesh
    night["schedules"][0]["active"] = False
    return content


def checks_of(side: Side, run: str) -> dict[str, str]:
    """Check → verdict, from the run's artifact: the Job's own files are gone with it."""
    asked = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["checks"]}}}
    [found] = side.post("artifacts/filter", asked)
    rows = json.loads(found["data"]) if isinstance(found["data"], str) else found["data"]
    return {row["check"]: row["verdict"] for row in rows}


def test_a_night_runs_as_a_job_with_no_more_than_its_role(deployed: Side, kube: Kube) -> None:
    deployed.prefect("deployment", "run", f"nightly-validation/{DEPLOYMENT}")
    night = deployed.run_of(DEPLOYMENT, timeout=LONGEST)
    checks = checks_of(deployed, night["id"])
    assert night["state_type"] == "COMPLETED", (night["state"]["message"], checks)
    [job] = kube.objects("batch/v1", "Job", RUNS)
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "mesh-lab-run"
    assert job["metadata"]["labels"]["prefect.io/flow-run-id"] == night["id"]
    left_out = {check for check, verdict in checks.items() if verdict == "skipped"}
    assert {"istio.analyze", "audit.analyze", "ingress.https"} <= left_out
    assert set(checks.values()) == {"pass", "skipped"} and list(checks.values()).count("pass") > 40

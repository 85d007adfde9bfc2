"""The kept lab as a cluster of somebody else: permissions first, one run at a time, and everything as it was afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kubernetes import client

from meshlab.config.settings import Machine
from meshlab.core.waiting import wait
from meshlab.kube.apply import ObjectRef, apply, delete
from meshlab.kube.client import Kube
from meshlab.shared_cluster.lease import ClusterHold
from tests.live.conftest import NAME, Ran, run_lab

pytestmark = pytest.mark.live
GUEST, FOREIGN = "guest", "foreign"
EMBEDDED = ["--set", "istio.distribution=embedded", "--set", "images=embedded"]


@pytest.fixture(scope="module")
def kubeconfig(kept_lab: Ran, machine: Machine) -> Path:
    return machine.state / "clusters" / NAME / "kubeconfig"


@pytest.fixture(scope="module")
def kube(kubeconfig: Path) -> Kube:
    return Kube.connect(kubeconfig, NAME)


def as_guest(runs_dir: Path, kubeconfig: Path, *words: str) -> Ran:
    """A run on that cluster as one that is not ours, in a namespace of its own."""
    where = ["--cluster", "existing", "--kubeconfig", str(kubeconfig), "--namespace", GUEST]
    return run_lab(runs_dir, *where, *EMBEDDED, *words, timeout=900)


def test_missing_permissions_are_named_and_nothing_is_touched(
    kube: Kube, kubeconfig: Path, tmp_path: Path
) -> None:
    account = ObjectRef("v1", "ServiceAccount", "kube-public", "onlooker")
    binding = ObjectRef("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", None, "onlooker")
    try:
        apply(kube, [_account(account), _may_view(binding, account)])
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)
        )
        answer = kube.core.create_namespaced_service_account_token(account.name, account.namespace, request)
        content = yaml.safe_load(kubeconfig.read_text())
        content["users"][0]["user"] = {"token": answer.status.token}
        theirs = tmp_path / "onlooker.kubeconfig"
        theirs.touch(mode=0o600)
        theirs.write_text(yaml.safe_dump(content))
        ran = as_guest(tmp_path / "runs", theirs)
    finally:
        delete(kube, [binding, account], timeout=30)
    assert ran.code == 2 and ran.directory is None, ran.output[-3000:]
    assert "may not create, update, patch, delete deployments.apps in namespace guest" in ran.output
    assert "may not get, list nodes in the whole cluster" in ran.output
    assert answer.status.token not in ran.output
    assert kube.get("v1", "Namespace", GUEST) is None


def test_a_second_run_is_told_who_holds_the_cluster(kube: Kube, kubeconfig: Path, tmp_path: Path) -> None:
    first = ClusterHold(kube, "run-of-another", (GUEST,))
    first.acquire()
    try:
        ran = as_guest(tmp_path / "runs", kubeconfig)
    finally:
        first.release()
    assert ran.code == 2 and ran.directory is None, ran.output[-3000:]
    assert "another run holds this cluster: run run-of-another of" in ran.output
    wait(
        f"the namespace {GUEST}, made for the Lease, to be gone",
        lambda: kube.get("v1", "Namespace", GUEST),
        ready=lambda found: found is None,
        timeout=60,
    )


def test_a_foreign_mesh_is_used_and_left_as_it_was(kube: Kube, kubeconfig: Path, tmp_path: Path) -> None:
    theirs = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "theirs", "namespace": FOREIGN},
        "spec": {"hosts": ["theirs.example.com"], "http": [{"route": [{"destination": {"host": "x"}}]}]},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FOREIGN}}
    before = kube.get("apps/v1", "Deployment", "istiod", "istio-system")
    try:
        apply(kube, [namespace, theirs])
        ran = as_guest(tmp_path / "runs", kubeconfig)
    finally:
        delete(kube, [ObjectRef("v1", "Namespace", None, FOREIGN)], timeout=60)
    check = ran.check("teardown.nothing-left")
    assert check["verdict"] == "pass", check
    assert check["evidence"]["changed_by_us"] == check["evidence"]["changed_elsewhere"] == []
    assert check["evidence"]["objects"] > 50
    assert ran.check("uninstall.nothing-left")["verdict"] == "skipped"
    after = kube.get("apps/v1", "Deployment", "istiod", "istio-system")
    assert before is not None and after is not None
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert kube.get("v1", "Namespace", GUEST) is None


def _account(ref: ObjectRef) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
    }


def _may_view(ref: ObjectRef, account: ObjectRef) -> dict[str, object]:
    return {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": {"name": ref.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
    }

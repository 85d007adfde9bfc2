"""What a cluster lacks for the run's pods, and why it would refuse them, is known before anything is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshlab.app import fence
from meshlab.app.pods import MESHED, PLAIN
from meshlab.cli import room
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from tests.fakes.istio_objects import istiod, mesh_map
from tests.fakes.kube import FakeKube

NIGHT = LabConfig(cluster="existing")
REQUESTS = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}


class Theirs(FakeKube):
    """A cluster with Istio whose admission says `refusal` to every dry run."""

    def __init__(
        self, *objects: dict[str, Any], cpu: str = "4", refusal: str = "", status: int = 403
    ) -> None:
        super().__init__()
        for kind in ("ResourceQuota", "LimitRange"):
            self.kinds["v1", kind] = True
        self.kinds["admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"] = False
        values = json.dumps({"global": {"proxy": {"resources": REQUESTS}}})
        injector = mesh_map({}, name="istio-sidecar-injector")
        injector["data"] = {"values": values}
        allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        nodes = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "spec": {}}
        for each in (
            istiod(),
            mesh_map({}),
            injector,
            {**nodes, "status": {"allocatable": allocatable}},
            *objects,
        ):
            self.put(each)
        self.kinds[fence.API_VERSION, fence.KIND] = True
        self.refusal, self.status = refusal, status
        self.may_do = {("create", "pods")}
        self.asked: list[dict[str, Any]] = []

    def may(self, verb: str, group: str, resource: str, namespace: str | None = None) -> bool:
        return (verb, resource) in self.may_do

    def create(  # type: ignore[override]
        self, document: dict[str, Any], *, namespace: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        assert dry_run, "nothing may be written"
        self.asked.append(document)
        if self.refusal:
            raise KubeError(self.refusal, status=self.status)
        return document


def space(name: str = "meshlab", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_a_cluster_with_room_has_no_problem_and_nothing_is_written() -> None:
    kube = Theirs(space())
    assert room.problems(kube, NIGHT) == []  # type: ignore[arg-type]
    assert kube.calls == [] and len(kube.asked) == 1


def test_sidecars_are_added_up_against_what_nodes_have_free() -> None:
    needed = 0.1 * len(MESHED)
    assert room.problems(Theirs(cpu=f"{needed:.1f}"), NIGHT) == []  # type: ignore[arg-type]
    [problem] = room.problems(Theirs(cpu="0.5"), NIGHT)  # type: ignore[arg-type]
    assert problem.where == "nodes" and f"{needed:.3f} CPU asked for, 0.500 CPU free" in problem.what


def test_a_quota_and_limits_are_named_with_what_is_short() -> None:
    meta = {"name": "team", "namespace": "meshlab"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "5"}}}
    most = {"type": "Container", "max": {"cpu": "1"}}
    ranges = {"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [most]}}
    found = room.problems(Theirs(space(), quota, ranges), NIGHT)  # type: ignore[arg-type]
    pods = len(MESHED) + len(PLAIN)
    assert [each.what for each in found] == [
        f"pods: {pods} pods asked for, 5 pods left, {pods - 5} pods short",
        f"allows a container 1.000 CPU, istio-proxy of {MESHED[0]} has 2.000 CPU",
    ]
    assert all("app.namespace" in each.remedy for each in found)


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (
            'pods "x" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities '
            '(container "istio-init" must not include "NET_ADMIN", "NET_RAW")',
            "install Istio CNI",
        ),
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "app.namespace",
        ),
        ("ValidatingAdmissionPolicy 'owners' denied request: label cost-center is required", "app.labels"),
        ('pods "x" is forbidden: exceeded quota: team, requested: pods=1', "app.namespace"),
    ],
)
def test_what_admission_says_to_a_dry_run_is_told_with_what_to_set(refusal: str, remedy: str) -> None:
    [problem] = room.problems(Theirs(space(), refusal=refusal), NIGHT)  # type: ignore[arg-type]
    assert refusal in problem.what and remedy in problem.remedy


def test_a_failure_to_answer_is_no_refusal() -> None:
    assert room.problems(Theirs(space(), refusal="timeout", status=504), NIGHT) == []  # type: ignore[arg-type]


def test_a_namespace_to_come_is_judged_by_what_another_refuses() -> None:
    refusal = "ValidatingAdmissionPolicy 'owners' denied request: label cost-center is required"
    kube = Theirs(space("default"), space("shop"), refusal=refusal)
    [problem] = room.problems(kube, NIGHT)  # type: ignore[arg-type]
    assert problem.where == "namespace meshlab" and refusal in problem.what
    assert "app.labels" in problem.remedy
    pod, other = kube.asked
    assert [each["metadata"]["namespace"] for each in (pod, other)] == ["default", "shop"]
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"  # as in a namespace that asks
    assert kube.calls == []


def test_what_lacks_is_told_though_the_reads_for_admission_fail() -> None:
    class Hiccup(Theirs):
        def objects(self, api_version: str, kind: str, *rest: Any, **more: Any) -> list[dict[str, Any]]:
            if kind == "Namespace":
                raise KubeError("timeout", status=504)
            return super().objects(api_version, kind, *rest, **more)

    [problem] = room.problems(Hiccup(cpu="0.5"), NIGHT)  # type: ignore[arg-type]
    assert problem.where == "nodes" and "CPU free" in problem.what


def test_the_pod_that_is_asked_about_is_as_the_runs_own() -> None:
    app = {
        "labels": {"cost-center": "42"},
        "image_prefix": "registry.corp:5000/hub",
        "pull_secrets": ["corp"],
        "scheduling": {
            "node_selector": {"pool": "lab"},
            "tolerations": [{"key": "lab", "operator": "Exists"}],
        },
    }
    kube = Theirs(space())
    kube.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "b", "labels": {"pool": "lab"}}, "spec": {},
              "status": {"allocatable": {"cpu": "9", "memory": "9Gi", "pods": "99"}}})  # fmt: skip
    config = LabConfig.model_validate({"cluster": "existing", "app": app})
    assert room.problems(kube, config) == []  # type: ignore[arg-type]
    [pod] = kube.asked
    assert pod["metadata"]["labels"]["cost-center"] == "42" and pod["metadata"]["labels"]["app"] == "sleep"
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"  # the namespace does not ask yet
    spec = pod["spec"]
    assert spec["containers"][0]["image"] == "registry.corp:5000/hub/curlimages/curl:8.16.0"
    assert spec["nodeSelector"] == {"pool": "lab"} and spec["tolerations"] == [
        {"key": "lab", "operator": "Exists"}
    ]
    assert spec["imagePullSecrets"] == [{"name": "corp"}]


def test_a_namespace_that_network_policies_close_is_told_where_the_run_may_not_open_it() -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    meta = {"name": "deny", "namespace": "meshlab"}
    deny = {"apiVersion": fence.API_VERSION, "kind": fence.KIND, "metadata": meta, "spec": spec}
    kube = Theirs(space(), deny)
    (found,) = room.problems(kube, NIGHT)  # type: ignore[arg-type]
    assert found.where == "namespace meshlab" and "NetworkPolicies" in found.what
    assert "networkpolicies" in found.remedy and "app.namespace" in found.remedy
    kube.may_do |= {(verb, "networkpolicies") for verb in room.OPENING}
    assert room.problems(kube, NIGHT) == []  # type: ignore[arg-type]
    assert kube.calls == []

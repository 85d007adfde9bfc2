from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import KubeError
from meshlab.istio.distribution import Distribution
from meshlab.istio.gateway_api import API_VERSION
from meshlab.istio.mesh import Mesh
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import create
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.gateways import entry, gateway_api
from meshlab.security.gateways.ingress import JWKS
from tasks import edge
from tests.fakes.kube import CRD, FakeKube, FakeResource, make_pod

CLUSTER = ClusterRef("existing", "shop", Path("kubeconfig"))
ISTIO = Distribution("release", Path("istioctl"), "1.31.0", Path("samples"))
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
    "spec": {"selector": {"istio": "ingressgateway"}},
}


def checked(
    kube: FakeKube, folder: Path, monkeypatch: pytest.MonkeyPatch, **config: Any
) -> list[CheckResult]:
    monkeypatch.setattr(edge, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(edge, "mesh_of", lambda *_: Mesh("default"))
    return edge.check_ingress.fn(create(folder, "full-lab"), LabConfig(**config), CLUSTER, ISTIO)


def test_below_its_write_scope_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube([SERVICE])
    found = checked(kube, tmp_path, monkeypatch, cluster="existing")
    assert {check.id for check in found} == {"ingress.https", "ingress.mtls", "ingress.jwt"}
    assert {check.summary for check in found} == {"skipped: needs scope mesh"}
    assert kube.calls == []


def test_an_installation_without_the_gateway_is_the_users_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    found = checked(kube, tmp_path, monkeypatch)
    assert {(check.verdict, check.asked_for) for check in found} == {(Verdict.SKIPPED, True)}
    assert "has no istio-ingressgateway" in found[0].summary
    assert kube.calls == []


def test_a_gateway_that_is_down_is_no_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(FakeKube([SERVICE]), tmp_path, monkeypatch)
    assert {(check.verdict, check.asked_for) for check in found} == {(Verdict.SKIPPED, False)}
    assert "no pod of istio-ingressgateway is Ready" in found[0].summary


class Silent(FakeKube):
    """An API server that answers no question about Services and definitions."""

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        if kind in ("Service", CRD):
            raise KubeError("the API server did not answer", remedy="is it up?")
        return super().get(api_version, kind, name, namespace)

    def resource(self, api_version: str, kind: str) -> FakeResource:
        return FakeResource(True)


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (edge.check_ingress, {"ingress.https", "ingress.mtls", "ingress.jwt"}),
        (edge.check_egress, {"egress.blocked", "egress.gateway"}),
        (edge.check_gateway, {"gateway.https", "gateway.mtls", "gateway.jwt"}),
    ],
    ids=["ingress", "egress", "gateway"],
)
def test_an_api_that_does_not_tell_of_the_gateways_is_told_by_every_check(
    task: Any, names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "kube_of", lambda cluster: Silent())
    monkeypatch.setattr(edge, "mesh_of", lambda *_: Mesh("default"))
    found = task.fn(create(tmp_path, "full-lab"), LabConfig(), CLUSTER, ISTIO)
    assert {check.id for check in found} == names
    assert {(check.verdict, check.reason, check.remedy) for check in found} == {
        (Verdict.INFRA_ERROR, "the API server did not answer", "is it up?")
    }


GATEWAYS = {"gateway.https", "gateway.mtls", "gateway.jwt"}


def by_gateway_api(kube: FakeKube, folder: Path, monkeypatch: pytest.MonkeyPatch, **config: Any) -> list:
    monkeypatch.setattr(edge, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(edge, "mesh_of", lambda *_: Mesh("default"))
    config["security"] = {"gateway_api": True}
    return edge.check_gateway.fn(create(folder, "full-lab"), LabConfig(**config), CLUSTER, ISTIO)


@pytest.mark.parametrize(
    ("config", "why"),
    [({"cluster": "existing"}, "needs scope mesh"), ({}, "no CustomResourceDefinitions of Gateway API")],
    ids=["below its scope", "no definitions"],
)
def test_what_gateway_api_lacks_is_skipped_with_the_reason(
    config: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    found = by_gateway_api(kube, tmp_path, monkeypatch, **config)
    assert {check.id for check in found} == GATEWAYS
    assert {(check.verdict, check.asked_for) for check in found} == {(Verdict.SKIPPED, True)}
    assert all(why in check.summary for check in found) and kube.calls == []


@pytest.mark.parametrize("asked", [True, False])
def test_the_edge_by_gateway_api_is_proven_where_it_is_asked_for(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Step:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, *_: object) -> None:
            made.append(self.name)

        def submit(self, *_: object) -> "Step":
            made.append(self.name)
            return self

        def wait(self) -> None:
            return

        def result(self) -> None:
            return

    for name in ("check_ingress", "check_egress", "check_gateway"):
        monkeypatch.setattr(edge, name, Step(name))
    config = LabConfig(security={"gateway_api": asked})
    edge.check_edge(create(tmp_path, "full-lab"), config, CLUSTER, ISTIO)
    assert made == ["check_ingress", "check_egress", *(["check_gateway"] if asked else [])]


class Applied(FakeKube):
    """A cluster with an ingress gateway that keeps what was applied to it."""

    def __init__(self, namespace: dict[str, str]) -> None:
        gateway = make_pod("gateway", namespace="istio-system", labels={"istio": "ingressgateway"})
        space = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "default", "labels": namespace},
        }
        super().__init__([SERVICE, gateway, space])
        for kind in ("Gateway", "VirtualService"):
            self.kinds["networking.istio.io/v1", kind] = True
        for kind in ("AuthorizationPolicy", "RequestAuthentication"):
            self.kinds["security.istio.io/v1", kind] = True
        self.kinds |= {
            ("v1", "Secret"): True,
            (API_VERSION, "Gateway"): True,
            (API_VERSION, "HTTPRoute"): True,
        }
        self.applied: list[dict[str, Any]] = []

    def server_side_apply(self, document: Any, **options: Any) -> dict[str, Any]:
        self.applied.append(document)
        return super().server_side_apply(document, **options)


def applied_at(
    task: Any,
    config: LabConfig,
    labels: dict[str, str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *there: dict[str, Any],
) -> list[dict[str, Any]]:
    """What a stage applies until its gateway should take it; nothing takes it here."""

    def not_taken(*_: object) -> None:
        raise KubeError("no proxy runs here", remedy="start one")

    kube = Applied(labels)
    for each in there:
        kube.put(each)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setattr(edge, "kube_of", lambda cluster: kube)
    monkeypatch.setattr(edge, "mesh_of", lambda *_: Mesh("default"))
    for name in ("istioctl_of", "note_causes"):
        monkeypatch.setattr(edge, name, lambda *_: None)
    monkeypatch.setattr(edge, "definitions", lambda _: ["some"])
    monkeypatch.setattr(edge, "validates_frontend", lambda *_: True)
    monkeypatch.setattr(entry, "wait_acknowledged", not_taken)
    monkeypatch.setattr(gateway_api, "wait_programmed", not_taken)
    for module in (entry, gateway_api):
        monkeypatch.setattr(module, "wait_deployments", lambda *_, **__: None)
    run = begin_context(create(folder / "runs", "full-lab"), config, Machine.here()).run
    found = task.fn(run, config, CLUSTER, ISTIO)
    assert {check.reason for check in found} == {"no proxy runs here"}
    return kube.applied


@pytest.mark.parametrize(("team", "closed"), [("mesh", True), ("payroll", False)])
def test_a_policy_on_labels_that_are_demanded_of_everybody_closes_the_gateway_too(
    team: str, closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "theirs", "namespace": "default"},
        "spec": {"action": "ALLOW", "selector": {"matchLabels": {"team": team}}, "rules": []},
    }
    config = LabConfig.model_validate({"app": {"labels": {"team": "mesh"}}})
    found = applied_at(edge.check_gateway, config, {}, tmp_path, monkeypatch, theirs)
    allows = [each for each in found if (each.get("spec") or {}).get("action") == "ALLOW"]
    assert bool(allows) is closed


@pytest.mark.parametrize("task", [edge.check_ingress, edge.check_gateway], ids=["ingress", "gateway"])
def test_what_the_cluster_demands_holds_for_the_gateways_objects_and_the_pod_that_serves_the_keys(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = {
        "labels": {"team": "mesh"},
        "pull_secrets": ["corp"],
        "scheduling": {
            "node_selector": {"pool": "lab"},
            "tolerations": [{"key": "lab", "operator": "Exists"}],
        },
        "image_prefix": "corp.test/hub",
    }
    config = LabConfig.model_validate({"images": "official", "app": app})
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    found = applied_at(task, config, restricted, tmp_path, monkeypatch)
    assert {"Gateway", "Secret", "AuthorizationPolicy"} <= {each["kind"] for each in found}
    assert {each["metadata"]["labels"].get("team") for each in found} == {"mesh"}
    [deployment] = [each for each in found if each["kind"] == "Deployment"]
    assert deployment["metadata"]["name"] == JWKS
    template = deployment["spec"]["template"]
    spec = template["spec"]
    assert template["metadata"]["labels"]["team"] == "mesh"
    assert spec["nodeSelector"] == {"pool": "lab"} and spec["imagePullSecrets"] == [{"name": "corp"}]
    assert spec["tolerations"] == app["scheduling"]["tolerations"]  # type: ignore[index]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = spec["containers"]
    assert container["image"] == "proxy:1", "it is the cluster's own already"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("task", [edge.check_ingress, edge.check_gateway], ids=["ingress", "gateway"])
def test_without_such_settings_objects_have_the_runs_own_labels_alone(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = applied_at(task, LabConfig(), {}, tmp_path, monkeypatch)
    own = {"app.kubernetes.io/managed-by", "meshlab/run", "app"}
    assert {key for each in found for key in each["metadata"]["labels"]} == own
    [deployment] = [each for each in found if each["kind"] == "Deployment"]
    assert "securityContext" not in deployment["spec"]["template"]["spec"]

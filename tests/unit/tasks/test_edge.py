from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.istio.distribution import Distribution
from meshlab.istio.mesh import Mesh
from meshlab.run.journal import create
from meshlab.run.results import CheckResult, Verdict
from tasks import edge
from tests.fakes.kube import CRD, FakeKube, FakeResource

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

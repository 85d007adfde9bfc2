"""Where NetworkPolicies of others close the namespace, one of ours opens it for our own traffic only."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app import fence
from meshlab.app.metrics_server import MetricsServer
from meshlab.core.errors import KubeError
from meshlab.istio.mesh import Mesh
from tests.fakes.kube import FakeKube

PROMETHEUS = MetricsServer("monitoring", "prometheus-operated", 9090)
DENY: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def cluster(spec: dict[str, Any] | None = None, name: str = "default-deny") -> FakeKube:
    kube = FakeKube()
    kube.kinds[fence.API_VERSION, fence.KIND] = True
    if spec is not None:
        meta = {"name": name, "namespace": "meshlab"}
        kube.put({"apiVersion": fence.API_VERSION, "kind": fence.KIND, "metadata": meta, "spec": spec})
    return kube


def made(kube: FakeKube) -> list[dict[str, Any]]:
    return fence.own_traffic(kube, Mesh("meshlab"), PROMETHEUS)  # type: ignore[arg-type]


def test_an_open_namespace_gets_none_and_ours_is_no_reason_for_ours() -> None:
    assert made(cluster()) == made(FakeKube()) == made(cluster(DENY, fence.NAME)) == []


def test_a_closed_one_is_opened_for_our_pods_istio_prometheus_and_dns() -> None:
    [policy] = made(cluster(DENY))
    spec = policy["spec"]
    spaces = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in ("istio-system", "monitoring")
    ]
    assert policy["metadata"] == {"name": fence.NAME, "namespace": "meshlab"}
    assert spec["podSelector"] == {} and spec["policyTypes"] == ["Egress", "Ingress"]
    assert spec["ingress"] == [{"from": [{"podSelector": {}}, *spaces]}]
    assert spec["egress"][0] == {"to": [{"podSelector": {}}, *spaces]}
    assert {each["port"] for each in spec["egress"][1]["ports"]} == {53}


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({"podSelector": {}}, ["Ingress"]),
        ({"podSelector": {}, "egress": [{}]}, ["Egress", "Ingress"]),
        ({"podSelector": {"matchLabels": {"app": "ratings"}}, "policyTypes": ["Egress"]}, ["Egress"]),
        ({"podSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}, ["Ingress"]),
        ({"podSelector": {"matchLabels": {"app": "payroll"}}}, None),
    ],
)
def test_only_the_directions_that_are_closed_for_us_are_opened(
    spec: dict[str, Any], types: list[str] | None
) -> None:
    found = made(cluster(spec))
    assert [each["spec"]["policyTypes"] for each in found] == ([types] if types else [])
    for each in found:
        assert {"ingress", "egress"} & set(each["spec"]) == {kind.lower() for kind in types or ()}


def test_where_they_may_not_be_read_none_is_made() -> None:
    class Closed(FakeKube):
        def objects(self, *what: Any, **more: Any) -> list[dict[str, Any]]:
            raise KubeError("forbidden", status=403)

    assert made(Closed()) == []

"""On a closed mesh that the run may change, its calls through the gateways are allowed where the gateways are."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import EGRESS, INGRESS, Gateway, Mesh
from meshlab.security.gateways.room import OWN, at_gateways
from tests.fakes.kube import FakeKube

MESH = Mesh(
    "meshlab",
    trust_domain="corp.example",
    cluster_domain="corp.local",
    root_namespace="mesh-config",
    gateways=(
        Gateway("istio-ingressgateway", "edge", INGRESS),
        Gateway("istio-egressgateway", "way-out", EGRESS),
    ),
)
WHOLE = LabConfig.model_validate({"cluster": "existing", "allow_changes": True})


def closed(namespace: str = "mesh-config", spec: dict[str, Any] | None = None) -> FakeKube:
    kube = FakeKube()
    kube.kinds["security.istio.io/v1", "AuthorizationPolicy"] = True
    meta = {"name": "allow-nothing", "namespace": namespace}
    kube.put(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": meta,
            "spec": spec or {},
        }
    )
    return kube


def test_each_gateway_gets_a_policy_of_ours_in_its_own_namespace() -> None:
    kube = closed()
    inwards, out = at_gateways(kube, MESH, WHOLE)  # type: ignore[arg-type]
    assert [each["metadata"] for each in (inwards, out)] == [
        {"name": OWN[0], "namespace": "edge"},
        {"name": OWN[1], "namespace": "way-out"},
    ]
    [rule] = inwards["spec"]["rules"]
    hosts = rule["to"][0]["operation"]["hosts"]
    assert {"istio-ingressgateway.edge.svc", "secure.meshlab.test", "secure.meshlab.test:*"} <= set(hosts)
    [rule] = out["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["corp.example/ns/meshlab/sa/sleep"]}}]
    assert rule["to"][0]["operation"]["hosts"][0] == "declared.meshlab-outside.svc.corp.local"
    for each in (inwards, out):
        kube.put(each)
    assert at_gateways(kube, MESH, WHOLE) == [inwards, out]  # type: ignore[arg-type]  # a run that goes on


def test_our_own_policies_close_nothing() -> None:
    kube = closed()
    made = at_gateways(kube, MESH, WHOLE)  # type: ignore[arg-type]
    alone = closed(spec={"action": "DENY", "rules": [{}]})
    for each in made:
        alone.put(each)
    assert at_gateways(alone, MESH, WHOLE) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("namespace", "spec", "made"),
    [
        ("edge", {}, [OWN[0]]),
        ("way-out", {}, [OWN[1]]),
        ("mesh-config", {"selector": {"matchLabels": {"istio": "egressgateway"}}}, [OWN[1]]),
        ("mesh-config", {"selector": {"matchLabels": {"app": "ratings"}}}, []),
        ("meshlab", {}, []),
        ("istio-system", {}, []),  # neither the root namespace nor a gateway's
    ],
)
def test_only_a_gateway_that_is_closed_gets_one(
    namespace: str, spec: dict[str, Any], made: list[str]
) -> None:
    found = at_gateways(closed(namespace, spec), MESH, WHOLE)  # type: ignore[arg-type]
    assert [each["metadata"]["name"] for each in found] == made


def test_without_the_scope_or_a_gateway_nothing_is_made() -> None:
    narrow = LabConfig(cluster="existing")
    assert at_gateways(closed(), MESH, narrow) == []  # type: ignore[arg-type]
    assert at_gateways(closed(), Mesh("meshlab", root_namespace="mesh-config"), WHOLE) == []  # type: ignore[arg-type]
    assert at_gateways(FakeKube(), MESH, WHOLE) == []  # type: ignore[arg-type]  # no Istio is there

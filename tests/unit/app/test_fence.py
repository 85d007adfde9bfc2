"""Where NetworkPolicies of others close the namespace, one of ours opens it for our own traffic only."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app import fence, traffic_clients
from meshlab.app.job import JOB
from meshlab.app.load import Sender
from meshlab.app.paths import OUTSIDE as TWIN
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.istio.mesh import Mesh, Provider
from meshlab.security.authorization.lab import client_documents
from meshlab.security.gateways.bypass import NAME as BYPASS
from meshlab.security.gateways.egress import OUTSIDE
from meshlab.security.gateways.ingress import JWKS
from meshlab.security.mtls.strict import PROBE, PROBE_CLIENT
from tests.fakes.kube import FakeKube

NIGHT = LabConfig(cluster="existing")
MESH = Mesh("meshlab")
LASTING = ("productpage", "details", "reviews", "ratings", "sleep", "tcp-echo")
DENY: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def cluster(spec: dict[str, Any] | None = None, name: str = "default-deny") -> FakeKube:
    kube = FakeKube()
    kube.kinds[fence.API_VERSION, fence.KIND] = True
    if spec is not None:
        meta = {"name": name, "namespace": "meshlab"}
        kube.put({"apiVersion": fence.API_VERSION, "kind": fence.KIND, "metadata": meta, "spec": spec})
    return kube


def made(
    kube: FakeKube, *, mesh: Mesh = MESH, config: LabConfig = NIGHT, scraping: str = "monitoring"
) -> dict[str, dict[str, Any]]:
    """By direction; the names and the namespace are those of ours."""
    found = fence.own_traffic(kube, mesh, config, scraping)  # type: ignore[arg-type]
    assert {each["metadata"]["namespace"] for each in found} <= {"meshlab"}
    assert len({each["metadata"]["name"] for each in found}) == len(found)
    return {each["metadata"]["name"].removeprefix(f"{fence.NAME}-"): each["spec"] for each in found}


def spaces(*names: str) -> list[dict[str, Any]]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in names]


def apps(selector: dict[str, Any]) -> set[str]:
    [term] = selector["matchExpressions"]
    assert (term["key"], term["operator"]) == ("app", "In")
    return set(term["values"])


def test_an_open_namespace_gets_none_and_ours_is_no_reason_for_ours() -> None:
    own = made(cluster(DENY, f"{fence.NAME}-ingress"))
    assert made(cluster()) == made(FakeKube()) == own == {}


def test_a_closed_one_is_opened_for_our_pods_istio_prometheus_and_dns() -> None:
    found = made(cluster(DENY))
    assert set(found) == {"ingress", "egress"}
    ingress, egress = found["ingress"], found["egress"]
    for spec, kind in ((ingress, "Ingress"), (egress, "Egress")):
        assert spec["policyTypes"] == [kind] and {"ingress", "egress"} & set(spec) == {kind.lower()}
        assert apps(spec["podSelector"]) == {*LASTING, *fence.LATER}
    peers = [{"podSelector": ingress["podSelector"]}, *spaces("istio-system", "monitoring")]
    assert ingress["ingress"] == [{"from": peers}]
    assert egress["egress"][0] == {"to": peers}
    dns = egress["egress"][1]
    assert "to" not in dns  # whoever answers it: pods anywhere, or an address of the node
    assert {(each["protocol"], each["port"]) for each in dns["ports"]} == {
        (protocol, port) for protocol in ("UDP", "TCP") for port in (53, 5353)
    }


def test_what_the_mesh_has_sidecars_call_is_reached_and_reaches_nobody() -> None:
    mesh = Mesh(
        "meshlab",
        providers=(
            Provider("otel", "opentelemetry", "collector.observability.svc", 4317),
            Provider("zipkin", "zipkin", "spans/zipkin.spans.svc.cluster.local", 9411),
            Provider("elsewhere", "zipkin", "spans.example.com", 9411),
            Provider("prometheus", "prometheus"),
        ),
    )
    found = made(cluster(DENY), mesh=mesh)
    assert found["egress"]["egress"][0]["to"][1:] == spaces(
        "istio-system", "monitoring", "observability", "spans"
    )
    assert found["ingress"]["ingress"][0]["from"][1:] == spaces("istio-system", "monitoring")


def test_without_a_known_prometheus_only_istio_is_let_in() -> None:
    assert made(cluster(DENY), scraping="")["ingress"]["ingress"][0]["from"][1:] == spaces("istio-system")


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({"podSelector": {}}, ["Ingress"]),
        ({"podSelector": {}, "egress": [{}]}, ["Egress", "Ingress"]),
        ({"podSelector": {"matchLabels": {"app": "ratings"}}, "policyTypes": ["Egress"]}, ["Egress"]),
        ({"podSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}, None),
        ({"podSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}, ["Ingress"]),
        ({"podSelector": {"matchExpressions": [{"key": "x", "operator": "In", "values": ["db"]}]}}, None),
        (
            {"podSelector": {"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["db"]}]}},
            ["Ingress"],
        ),
        ({"podSelector": {"matchLabels": {"security.istio.io/tlsMode": "istio"}}}, ["Ingress"]),
        ({"podSelector": {"matchExpressions": [{"key": "istio.io/rev", "operator": "Exists"}]}}, ["Ingress"]),
        (
            {"podSelector": {"matchExpressions": [{"key": "pod-template-hash", "operator": "Exists"}]}},
            ["Ingress"],
        ),
        ({"podSelector": {"matchLabels": {"service.istio.io/canonical-name": "payroll"}}}, None),
        ({"podSelector": {"matchLabels": {"app": "payroll"}}}, None),
        (
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["payroll"]}]}},
            None,
        ),
        ({"podSelector": {"matchLabels": {"team": "shop"}}}, None),
    ],
)
def test_only_the_directions_that_are_closed_for_us_are_opened(
    spec: dict[str, Any], types: list[str] | None
) -> None:
    found = made(cluster(spec))
    assert sorted(kind for each in found.values() for kind in each["policyTypes"]) == (types or [])
    for each in found.values():
        assert {"ingress", "egress"} & set(each) == {kind.lower() for kind in each["policyTypes"]}


@pytest.mark.parametrize(
    ("selector", "closed"),
    [
        ({"matchLabels": {"app": "ratings"}}, {"ratings"}),
        ({"matchLabels": {"version": "v2"}}, {"reviews"}),
        ({"matchLabels": {"service.istio.io/canonical-name": "details"}}, {"details"}),
        (
            {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["sleep"]}]},
            {*LASTING, *fence.LATER} - {"sleep"},
        ),
    ],
)
def test_only_pods_of_ours_that_are_closed_are_selected(selector: dict[str, Any], closed: set[str]) -> None:
    [spec] = made(cluster({"podSelector": selector})).values()
    assert apps(spec["podSelector"]) == closed
    [rule] = spec["ingress"]
    assert apps(rule["from"][0]["podSelector"]) == {*LASTING, *fence.LATER}


def test_labels_that_are_demanded_of_everybody_are_labels_of_our_pods() -> None:
    demanded = LabConfig.model_validate({"cluster": "existing", "app": {"labels": {"team": "shop"}}})
    kube = cluster({"podSelector": {"matchLabels": {"team": "shop"}}})
    assert set(made(kube, config=demanded)) == {"ingress"}


ASKED: dict[str, Any] = {"cluster": "existing", "allow_changes": True, "security": {"gateway_api": True}}


@pytest.mark.parametrize("labels", [{"team": "shop"}, {"team": "shop", "app": "theirs"}])
def test_labels_that_are_demanded_of_everybody_are_labels_of_the_gateway_s_pods(
    labels: dict[str, str],
) -> None:
    config = LabConfig.model_validate({**ASKED, "app": {"labels": labels}})
    found = made(cluster({"podSelector": {"matchLabels": {"team": "shop"}}}), config=config)
    assert set(found) == {"ingress", "gateway-ingress"}
    assert apps(found["ingress"]["podSelector"]) == {*LASTING, *fence.LATER}


def test_the_gateway_that_istio_makes_for_a_run_is_one_of_its_pods() -> None:
    found = made(cluster(DENY), config=LabConfig.model_validate(ASKED))
    assert set(found) == {"ingress", "egress", "gateway-ingress", "gateway-egress", "outside-egress"}
    [term] = found["gateway-egress"]["podSelector"]["matchExpressions"]
    assert term == {"key": fence.GATEWAY, "operator": "In", "values": ["meshlab-gateway"]}
    assert {"podSelector": {"matchExpressions": [term]}} in found["ingress"]["ingress"][0]["from"]


def test_where_egress_is_closed_sleep_alone_reaches_the_destination_of_the_egress_checks() -> None:
    whole = LabConfig(cluster="existing", allow_changes=True)
    spec = made(cluster(DENY), config=whole)["outside-egress"]
    assert apps(spec["podSelector"]) == {"sleep"} and spec["policyTypes"] == ["Egress"]
    assert spec["egress"][0] == {"to": spaces(OUTSIDE)}
    others = {**DENY, "podSelector": {"matchLabels": {"app": "ratings"}}}
    for open_to_sleep in ({**DENY, "policyTypes": ["Ingress"]}, others):
        assert "outside-egress" not in made(cluster(open_to_sleep), config=whole)
    assert "outside-egress" not in made(cluster(DENY)), "the destination is in the namespace itself"


def test_every_pod_that_a_stage_brings_is_known() -> None:
    load = Sender().name
    brought = {traffic_clients.CALLER.app, TWIN.app, PROBE, PROBE_CLIENT, OUTSIDE, BYPASS, JWKS, JOB}
    stand_ins = {each["metadata"]["name"] for each in client_documents("meshlab")}
    assert set(fence.LATER) == {*brought, *stand_ins, load, f"{load}-warmup"}


def test_where_they_may_not_be_read_none_is_made() -> None:
    class Closed(FakeKube):
        def objects(self, *what: Any, **more: Any) -> list[dict[str, Any]]:
            raise KubeError("forbidden", status=403)

    assert made(Closed()) == {}

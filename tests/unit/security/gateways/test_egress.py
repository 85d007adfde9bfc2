from meshlab.istio.mesh import EGRESS, Gateway, Mesh
from meshlab.security.gateways import egress

MESH = Mesh("shop", cluster_domain="pasta.local", gateways=(Gateway("istio-egressgateway", "edge", EGRESS),))
DOCUMENTS = {each["kind"]: each for each in egress.through_gateway(MESH, "beyond")}
HOST = "declared.beyond.svc.pasta.local"


def test_the_policy_holds_the_caller_s_pods_and_nobody_else() -> None:
    sidecar = egress.outbound_policy("shop", "REGISTRY_ONLY")
    assert sidecar["metadata"]["namespace"] == "shop"
    assert sidecar["spec"] == {
        "workloadSelector": {"labels": {"app": "sleep"}},
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
    }


def test_what_is_declared_is_seen_by_the_caller_and_the_gateway_only() -> None:
    for kind in ("ServiceEntry", "VirtualService"):
        assert DOCUMENTS[kind]["spec"]["exportTo"] == [".", "edge"]
    assert DOCUMENTS["DestinationRule"]["spec"]["exportTo"] == ["."]
    assert DOCUMENTS["ServiceEntry"]["spec"]["hosts"] == [HOST]


def test_the_way_is_caller_gateway_host() -> None:
    first, second = DOCUMENTS["VirtualService"]["spec"]["http"]
    assert first["match"] == [{"gateways": ["mesh"], "port": 80}]
    assert first["route"][0]["destination"]["host"] == f"{egress.GATEWAY}.edge.svc.pasta.local"
    assert second["match"] == [{"gateways": [egress.NAME], "port": 443}]
    assert second["route"][0]["destination"]["host"] == HOST


def test_the_hop_to_the_gateway_is_mutual_tls_on_both_sides() -> None:
    (server,) = DOCUMENTS["Gateway"]["spec"]["servers"]
    assert server["tls"] == {"mode": "ISTIO_MUTUAL"}
    (subset,) = DOCUMENTS["DestinationRule"]["spec"]["subsets"]
    (port,) = subset["trafficPolicy"]["portLevelSettings"]
    assert port["tls"] == {"mode": "ISTIO_MUTUAL", "sni": HOST}
    assert port["port"]["number"] == server["port"]["number"]


def test_both_names_of_the_pod_outside_are_hidden_from_the_mesh() -> None:
    services = [each for each in egress.outside_pod("beyond", "proxy:1") if each["kind"] == "Service"]
    assert [each["metadata"]["name"] for each in services] == ["declared", "undeclared"]
    assert all(each["metadata"]["annotations"] == {"networking.istio.io/exportTo": "~"} for each in services)

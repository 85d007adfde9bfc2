"""The facts of a mesh are read from the cluster as istiod itself reads them."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.istio.facts import read_facts
from meshlab.istio.mesh import EGRESS, INGRESS, Gateway, Mesh
from tests.fakes.istio_objects import KINDS, injector, istiod, mesh_map, policy, webhooks
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh, make_object

CHART = {
    "trustDomain": "cluster.local",
    "rootNamespace": "istio-system",
    "defaultProviders": {"metrics": ["prometheus"]},
}


def read(*objects: dict[str, Any], namespace: str = "shop") -> Mesh:
    kube = FakeMesh(objects)
    kube.kinds |= dict.fromkeys(KINDS, True)
    return read_facts(kube, namespace)


def space(**labels: str) -> dict[str, Any]:
    return make_object("v1", "Namespace", "shop", **labels)


def test_the_labs_own_mesh():
    found = read(
        istiod(),
        mesh_map(CHART),
        injector(),
        webhooks(),
        space(istio_injection="enabled"),
        make_pod("web", namespace="shop"),
    )
    assert found.as_json() == {
        "namespace": "shop",
        "control_planes": [
            {
                "name": "istiod",
                "namespace": "istio-system",
                "revision": "default",
                "tags": [],
                "version": "1.28.3",
                "serves_us": True,
            }
        ],
        "config_maps": ["istio-system/istio"],
        "trust_domain": "cluster.local",
        "trust_domain_aliases": [],
        "cluster_domain": "cluster.local",
        "root_namespace": "istio-system",
        "mtls": {"mesh": "PERMISSIVE", "namespace": "PERMISSIVE"},
        "outbound": {"mode": "ALLOW_ANY", "set_by": "default"},
        "metrics": ["prometheus"],
        "tracing": [],
        "access_logs": [],
        "sidecars": "native",
        "capture": "init container",
        "ambient": False,
        "namespace_mode": "sidecar",
        "edge": "none",
        "installed_by": "istioctl",
        "unknown": {},
    }
    assert found.service_host("details") == "details.shop.svc.cluster.local"
    assert found.principal("shop", "web") == "cluster.local/ns/shop/sa/web"
    assert (found.istiod, found.istiod_selector, found.system_namespace) == (
        "istiod",
        "istio=pilot",
        "istio-system",
    )


def test_a_cluster_without_istio_has_istios_own_defaults():
    found = read(space())
    assert (found.control_planes, found.serving, found.config_maps) == ((), None, ())
    assert (found.trust_domain, found.cluster_domain, found.root_namespace) == (
        "cluster.local",
        "cluster.local",
        "istio-system",
    )
    assert (found.istiod, found.istiod_selector) == ("istiod", "app=istiod")


def test_case_2_the_cluster_domain_is_the_proxys_own():
    pod = make_pod("web", namespace="shop")
    pod["spec"]["initContainers"][1]["args"] = [
        "proxy",
        "sidecar",
        "--domain",
        "$(POD_NAMESPACE).svc.pasta.local",
    ]
    assert (
        read(istiod(domain="old.local"), pod).service_host("details", "default")
        == "details.default.svc.pasta.local"
    )
    assert read(istiod(domain="pasta.local")).cluster_domain == "pasta.local"
    bare = istiod()
    bare["spec"]["template"]["spec"]["containers"][0]["args"] = ["discovery"]
    assert read(bare, injector(domain="pasta.local")).cluster_domain == "pasta.local"
    assert read(bare).cluster_domain == "cluster.local"


def test_case_3_the_only_config_map_is_a_revisions():
    config = {
        "trustDomain": "corp.example",
        "trustDomainAliases": ["old.example"],
        "rootNamespace": "mesh-config",
        "pathNormalization": {"normalization": "MERGE_SLASHES"},
    }
    found = read(istiod("1-28-3"), mesh_map(config, "1-28-3"))
    assert found.config_maps == ("istio-system/istio-1-28-3",)
    assert found.trust_domains == ("corp.example", "old.example")
    assert found.root_namespace == "mesh-config"
    assert found.config["pathNormalization"] == {"normalization": "MERGE_SLASHES"}
    assert found.spiffe("shop", "web") == "spiffe://corp.example/ns/shop/sa/web"
    assert found.istiod == "istiod-1-28-3"
    assert found.istiod_selector == "app=istiod,istio.io/rev=1-28-3"


def test_a_shared_config_map_is_applied_first_and_lists_are_merged_as_istiod_does():
    shared = {
        "trustDomain": "shared.example",
        "accessLogFile": "/dev/stdout",
        "trustDomainAliases": ["a.example"],
        "extensionProviders": [
            {"name": "jaeger", "zipkin": {"service": "old", "port": 1}},
            {"name": "authz", "envoyExtAuthzGrpc": {"service": "x", "port": 2}},
        ],
    }
    own = {
        "trustDomain": "own.example",
        "trustDomainAliases": ["b.example"],
        "extensionProviders": [{"name": "jaeger", "opentelemetry": {"service": "new", "port": 4317}}],
    }
    plane = istiod(env={"SHARED_MESH_CONFIG": "istio-user"})
    found = read(plane, mesh_map(shared, name="istio-user"), mesh_map(own))
    assert found.config_maps == ("istio-system/istio-user", "istio-system/istio")
    assert found.trust_domains == ("own.example", "a.example", "b.example")
    assert found.access_logs == ("accessLogFile /dev/stdout",)
    kinds = {each.name: (each.kind, each.service, each.port) for each in found.providers}
    assert kinds["jaeger"] == ("opentelemetry", "new", 4317)
    assert kinds["authz"] == ("envoyExtAuthzGrpc", "x", 2)
    assert kinds["prometheus"] == ("prometheus", "", 0)


@pytest.mark.parametrize("text", ["a: [", "just words", ""])
def test_a_configuration_that_istiod_could_not_read_changes_nothing(text: str):
    assert read(istiod(), mesh_map(text)).trust_domain == "cluster.local"


TWO = (istiod("1-27-0", tag="1.27.0"), istiod("1-28-3"), webhooks("1-27-0"), webhooks("1-28-3"))


def test_case_4_a_tag_makes_a_revision_the_default():
    found = read(*TWO, webhooks("1-28-3", tag="default"), space(istio_injection="enabled"))
    assert [(each.revision, each.tags, each.version) for each in found.control_planes] == [
        ("1-27-0", (), "1.27.0"),
        ("1-28-3", ("default",), "1.28.3"),
    ]
    assert found.revision == "1-28-3"
    assert read(*TWO, webhooks("1-28-3", tag="default")).revision == "1-28-3", (
        "the namespace is not there yet"
    )


def test_a_namespace_names_its_control_plane_by_revision_or_tag():
    tagged = webhooks("1-27-0", tag="prod")
    labels: dict[str, Any] = {"name": "shop", "labels": {"istio.io/rev": "prod"}}
    by_tag = {"apiVersion": "v1", "kind": "Namespace", "metadata": labels}
    assert read(*TWO, tagged, by_tag).revision == "1-27-0"
    labels["labels"]["istio.io/rev"] = "1-28-3"
    assert read(*TWO, tagged, by_tag).revision == "1-28-3"
    labels["labels"]["istio.io/rev"] = "gone"
    found = read(*TWO, tagged, by_tag)
    assert found.serving is None and "serving" in found.unknown
    assert found.control_planes, "they are there, only ours is not known"


def test_a_revision_under_a_name_of_a_tag_yields_to_the_tag():
    labels = {"name": "shop", "labels": {"istio.io/rev": "prod"}}
    by_tag = {"apiVersion": "v1", "kind": "Namespace", "metadata": labels}
    found = read(istiod("a"), istiod("b"), webhooks("b", tag="prod"), by_tag)
    assert found.revision == "b"


PERMISSIVE = {"mtls": {"mode": "PERMISSIVE"}}
STRICT = {"mtls": {"mode": "STRICT"}}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([policy("PeerAuthentication", "a", "istio-system", STRICT)], ("STRICT", "STRICT")),
        ([policy("PeerAuthentication", "a", "shop", STRICT)], ("PERMISSIVE", "STRICT")),
        (
            [
                policy("PeerAuthentication", "a", "istio-system", STRICT),
                policy("PeerAuthentication", "b", "shop", {"mtls": {"mode": "UNSET"}}),
            ],
            ("STRICT", "STRICT"),
        ),
        (
            [
                policy("PeerAuthentication", "a", "shop", STRICT, created="2026-01-02T00:00:00Z"),
                policy("PeerAuthentication", "b", "shop", PERMISSIVE, created="2026-01-01T00:00:00Z"),
                policy("PeerAuthentication", "c", "istio-system", STRICT),
            ],
            ("STRICT", "PERMISSIVE"),
        ),
        (
            [
                policy(
                    "PeerAuthentication",
                    "a",
                    "istio-system",
                    {**STRICT, "selector": {"matchLabels": {"app": "web"}}},
                )
            ],
            ("PERMISSIVE", "PERMISSIVE"),
        ),
    ],
)  # fmt: skip
def test_the_mode_of_mutual_tls_is_the_oldest_policys_of_the_nearest_layer(
    objects: list[dict[str, Any]], expected: tuple[str, str]
):
    found = read(istiod(), mesh_map(CHART), *objects)
    assert (found.mesh_mtls, found.mtls) == expected


REGISTRY = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}


def test_case_26_a_namespaces_own_sidecar_inherits_nothing_from_the_roots():
    root = policy("Sidecar", "default", "istio-system", REGISTRY)
    own = policy("Sidecar", "own", "shop", {"egress": [{"hosts": ["./*"]}]})
    found = read(istiod(), mesh_map(CHART), root)
    assert (found.outbound, found.outbound_from) == ("REGISTRY_ONLY", "Sidecar istio-system/default")
    found = read(istiod(), mesh_map(CHART), root, own)
    assert (found.outbound, found.outbound_from) == ("ALLOW_ANY", "default")
    found = read(istiod(), mesh_map({**CHART, **REGISTRY}), own)
    assert (found.outbound, found.outbound_from) == ("REGISTRY_ONLY", "meshConfig")
    for_some = policy("Sidecar", "some", "shop", {"workloadSelector": {"labels": {"app": "web"}}})
    found = read(istiod(), mesh_map(CHART), root, for_some)
    assert found.outbound == "REGISTRY_ONLY"


def test_policies_of_another_root_namespace_hold():
    found = read(
        istiod(),
        mesh_map({"rootNamespace": "mesh-config"}),
        policy("PeerAuthentication", "a", "mesh-config", STRICT),
        policy("PeerAuthentication", "a", "istio-system", {"mtls": {"mode": "DISABLE"}}),
        policy("Sidecar", "a", "mesh-config", REGISTRY),
    )
    assert (found.mtls, found.outbound) == ("STRICT", "REGISTRY_ONLY")


def test_telemetry_of_the_namespace_wins_over_the_meshs_and_can_switch_off():
    mesh = mesh_map({"defaultProviders": {"metrics": ["prometheus"], "accessLogging": ["envoy"]}})
    logs = policy(
        "Telemetry",
        "a",
        "istio-system",
        {
            "accessLogging": [{"providers": [{"name": "json"}]}],
            "tracing": [{"providers": [{"name": "jaeger"}]}],
        },
    )
    found = read(istiod(), mesh, logs)
    assert (found.metrics, found.tracing, found.access_logs) == (("prometheus",), ("jaeger",), ("json",))
    off = policy(
        "Telemetry",
        "b",
        "shop",
        {"accessLogging": [{"disabled": True}], "tracing": [{"disableSpanReporting": True}]},
    )
    found = read(istiod(), mesh, logs, off)
    assert (found.metrics, found.tracing, found.access_logs) == (("prometheus",), (), ())


def test_how_sidecars_come_into_pods():
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    new = {**node, "status": {"nodeInfo": {"kubeletVersion": "v1.34.1"}}}
    old = {**new, "metadata": {"name": "o"}, "status": {"nodeInfo": {"kubeletVersion": "v1.32.9-gke.1"}}}
    assert read(istiod(), new).sidecars == "native"
    assert read(istiod(), new, old).sidecars == "container"
    assert read(istiod(tag="1.26.2"), new).sidecars == "container"
    assert read(istiod(tag="1.26.2", env={"ENABLE_NATIVE_SIDECARS": "true"}), new).sidecars == "native"
    assert read(istiod(tag="0a1b2c"), new).sidecars == "unknown"
    pod = make_pod("web", namespace="shop")
    pod["spec"]["containers"].append(pod["spec"]["initContainers"].pop())
    assert read(istiod(), new, pod).sidecars == "container"
    assert read(istiod(), injector(cni=True)).capture == "cni"
    assert read(istiod(), injector()).capture == "init container"
    assert read(istiod()).capture == "unknown"
    pod["spec"]["initContainers"] = [{"name": "istio-validation", "image": "proxy:1"}]
    assert read(istiod(), injector(), pod).capture == "cni"


def test_case_5_and_8_an_ambient_namespace_is_known():
    ztunnel = make_object(
        "apps/v1", "DaemonSet", "ztunnel", "istio-system", app__kubernetes__io_name="ztunnel"
    )
    ztunnel["metadata"]["labels"] = {"app.kubernetes.io/name": "ztunnel"}
    ambient = {**space(), "metadata": {"name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}}
    found = read(istiod(), ztunnel, ambient)
    assert (found.ambient, found.mode) == (True, "ambient")
    found = read(istiod(), space(istio_injection="enabled"))
    assert (found.ambient, found.mode) == (False, "sidecar")


def test_what_installed_it():
    helm = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}
    assert read(istiod(annotations=helm)).installed == "helm"
    assert read(istiod()).installed == "istioctl"
    assert (
        read(make_object("apps/v1", "Deployment", "istiod", "istio-system", app="istiod")).installed
        == "unknown"
    )


def test_gateways_are_found_where_they_run():
    def gateway(name: str, namespace: str, istio: str) -> dict[str, Any]:
        meta = {"name": name, "namespace": namespace, "labels": {"app": name, "istio": istio}}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {}}

    found = read(
        istiod(),
        mesh_map(CHART),
        injector(),
        webhooks(),
        space(),
        gateway("istio-ingressgateway", "edge", "ingressgateway"),
        gateway("istio-egressgateway", "istio-system", "egressgateway"),
        gateway("istio-egressgateway", "a-team", "egressgateway"),
        gateway("somebody-else", "shop", "eastwestgateway"),
    )
    assert set(found.gateways) == {
        Gateway("istio-ingressgateway", "edge", INGRESS),
        Gateway("istio-egressgateway", "istio-system", EGRESS),
        Gateway("istio-egressgateway", "a-team", EGRESS),
    }
    assert (found.ingress_namespace, found.egress_namespace) == ("edge", "istio-system")
    assert set(found.namespaces) == {"istio-system", "edge", "a-team", "shop"}
    assert Mesh("shop").ingress_namespace == "istio-system"


ROUTED, SERVED = "networking.istio.io/v1", "gateway.networking.k8s.io/v1"


def edged(*objects: dict[str, Any]) -> str:
    kube = FakeMesh([istiod(), *objects])
    kube.kinds |= {**dict.fromkeys(KINDS, True), (ROUTED, "Gateway"): True}
    kube.kinds |= {(SERVED, "Gateway"): True, (SERVED, "GatewayClass"): False}
    return read_facts(kube, "shop").edge


def by_gateway_api(class_name: str, **labels: str) -> dict[str, Any]:
    found = make_object(SERVED, "Gateway", class_name, "shop", **labels)
    return {**found, "spec": {"gatewayClassName": class_name}}


def test_which_edge_the_mesh_uses_is_a_fact_and_what_a_run_makes_is_none():
    istios = make_object(ROUTED, "Gateway", "front", "shop")
    deployed = make_object("apps/v1", "Deployment", "istio-ingressgateway", "edge", istio="ingressgateway")
    ours = make_object(ROUTED, "Gateway", "ours", "shop")
    ours["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "meshlab"}
    assert [edged(), edged(istios), edged(deployed), edged(ours)] == ["none", "istio", "istio", "none"]
    assert edged(by_gateway_api("istio")) == "gateway-api"
    assert edged(by_gateway_api("istio"), istios) == "both"
    assert [edged(by_gateway_api(name)) for name in ("istio-waypoint", "nginx")] == ["none", "none"]
    assert read(istiod()).as_json()["edge"] == "none", "a cluster that serves neither kind has none"

"""Bookinfo's mesh as causes read it, and what each planted fault leaves in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from meshlab import manifests
from meshlab.causes.objects import GATEWAY_API, Found, found_of
from meshlab.faults import edge, scraping
from meshlab.faults.fault import Fault
from meshlab.istio.mesh import Mesh
from meshlab.security.gateways import egress

NAMESPACE, ROOT = "shop", "istio-system"
WORKLOADS = ("productpage", "details", "reviews", "ratings", "sleep")

NEWER = {"managedFields": [{"manager": "kubectl", "time": "2026-11-28T09:00:00Z"}]}


def document(kind: str, name: str, spec: Mapping[str, Any], **meta: Any) -> Found:
    return found_of(kind, {"metadata": {"namespace": NAMESPACE, "name": name, **meta}, "spec": spec})


def bookinfo() -> list[Found]:
    """Bookinfo as Istio ships it, and what the lab's own mesh has beside it."""
    found = []
    for name in WORKLOADS:
        labels = {"app": name, "version": "v1"}
        port = {"port": 9080, "name": "http"}
        template = {"metadata": {"labels": labels}}
        found += [
            document("Service", name, {"selector": {"app": name}, "ports": [port], "clusterIP": "10.0.0.9"}),
            document("Deployment", f"{name}-v1", {"replicas": 1, "template": template}),
            document("Pod", f"{name}-v1-x-y", {}, labels=labels),
        ]
    strict = {"mtls": {"mode": "STRICT"}}
    return [
        *found,
        document("PeerAuthentication", "default", strict, namespace=ROOT),
        document(
            "Telemetry", "mesh-default", {"tracing": [{"randomSamplingPercentage": 100}]}, namespace=ROOT
        ),
        document(
            "VirtualService",
            "bookinfo",
            {
                "hosts": ["*"],
                "gateways": ["edge"],
                "http": [{"route": [{"destination": {"host": "productpage"}}]}],
            },
            **NEWER,
        ),
        document("Service", "tcp-echo", {"ports": [{"port": 9000, "name": "tcp"}]}, **NEWER),
        document(
            "Service", "jaeger-collector", {"ports": [{"port": 4317, "name": "grpc-otel"}]}, namespace=ROOT
        ),
        document("Service", "ingressgateway", {"ports": [{"port": 31400, "name": "tcp"}]}, namespace=ROOT),
        document("EnvoyFilter", "metrics", {"configPatches": [{"applyTo": "HTTP_FILTER"}]}, namespace=ROOT),
    ]


HARMLESS = (
    document("VirtualService", "plain", {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]}),
    document("DestinationRule", "plain", {"host": "details", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
    document("Telemetry", "logs", {"accessLogging": [{"providers": [{"name": "envoy"}]}]}),
)  # fmt: skip


def red(check_id: str, summary: str = "0 of 20 as expected", evidence: Any = None) -> dict[str, Any]:
    return {"id": check_id, "verdict": "fail", "summary": summary, "reason": None, "evidence": evidence or {}}


HOOK = {
    "name": "rev.namespace.sidecar-injector.istio.io",
    "failurePolicy": "Ignore",
    "clientConfig": {"service": {"name": "sabotage-nobody", "namespace": ROOT}},
}
MESHED, BARE = ([{"name": "app"}, {"name": "istio-proxy"}], [{"name": "app"}])
POD = {"kind": "Pod", "spec": {"containers": BARE}}
DETAILS = {"name": "details-v1-x-y", "namespace": NAMESPACE, "labels": {"app": "details", "version": "v1"}}
SIDECAR_OFF = {"sidecar.istio.io/inject": "false"}


def prometheus(change: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    job = {"job_name": "kubernetes-pods", "kubernetes_sd_configs": [{"role": "pod"}]}
    settings = {"global": {"scrape_interval": "15s"}, "scrape_configs": [job]}
    change(settings)
    meta = {"name": "prometheus", "namespace": ROOT}
    return [{"kind": "ConfigMap", "metadata": meta, "data": {"prometheus.yml": yaml.safe_dump(settings)}}]


def edge_of(alter: Callable[[list[Any]], list[Any]], manifest: str = "ingress") -> list[dict[str, Any]]:
    words = {"NAMESPACE": NAMESPACE, "SYSTEM": ROOT, "ISSUER": "https://issuer.test"}
    return alter(manifests.read(manifest, **words))


def at_gateway(alter: Callable[[list[Any]], list[Any]]) -> list[dict[str, Any]]:
    """What causes read of the edge by Gateway API: the Gateway itself, and Istio's policies."""
    made = edge_of(alter, "gateway-api")
    return [each for each in made if each["kind"] not in ("ConfigMap", "HTTPRoute")]


def way_out(alter: Callable[[list[Any]], list[Any]]) -> list[dict[str, Any]]:
    closed = egress.outbound_policy(NAMESPACE, "REGISTRY_ONLY")
    return alter([closed, *egress.through_gateway(Mesh(NAMESPACE), "meshlab-outside")])


def read_as(document: Mapping[str, Any]) -> Found:
    """An object as causes read it: Istio and Gateway API have a kind of one name."""
    by_gateway_api = document.get("apiVersion", "").startswith("gateway.networking.k8s.io/")
    return found_of(GATEWAY_API if by_gateway_api else document["kind"], document)


# What a fault leaves in the cluster that is planted by a function, and is no object of faults.yaml.
LEFT: Mapping[str, list[dict[str, Any]]] = {
    "missing-sidecar": [
        {
            "kind": "Deployment",
            "metadata": {"name": "details-v1", "namespace": NAMESPACE},
            "spec": {"template": {"metadata": {"labels": {"app": "details"}, "annotations": SIDECAR_OFF}}},
        },
        {**POD, "metadata": {**DETAILS, "annotations": SIDECAR_OFF}},
    ],
    "prometheus-not-scraping": [
        {
            **POD,
            "metadata": {
                "name": "productpage-v1-x-y",
                "namespace": NAMESPACE,
                "labels": {"app": "productpage", "version": "v1"},
                "annotations": {"prometheus.io/scrape": "false"},
            },
        }
    ],
    "istiod-stopped": [
        {"kind": "Deployment", "metadata": {"name": "istiod", "namespace": ROOT}, "spec": {"replicas": 0}}
    ],
    "gateway-host-widened": edge_of(edge.hosts_widened),
    "jwt-issuer-changed": edge_of(edge.issuer_changed),
    "policy-on-trial": edge_of(edge.on_trial),
    "egress-opened": way_out(edge.opened),
    "egress-direct-path": way_out(edge.direct),
    "gateway-api-host-widened": at_gateway(edge.listener_widened),
    "gateway-api-issuer-changed": at_gateway(edge.issuer_changed),
    "gateway-api-policy-on-trial": at_gateway(edge.on_trial),
    "injector-gone": [
        {
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "istio-sidecar-injector"},
            "webhooks": [HOOK],
        },
        {**POD, "metadata": DETAILS},
    ],
    "never-restarted": [{**POD, "metadata": DETAILS}],
    "scraped-every-10-minutes": prometheus(scraping.every_10_minutes),
    "scraped-twice": prometheus(scraping.twice),
    "label-dropped": prometheus(scraping.without_codes),
    "durations-dropped": prometheus(scraping.without_buckets),
    "istiod-not-measured": prometheus(scraping.without_istiod),
}
# What these checks see names the workload, the host or the object, as their evidence does in a real run.
SEEN: Mapping[str, Any] = {
    "istio.proxies-synced": {"rejected": [{"proxy": "details-v1-x-y.shop"}]},
    "ingress.https": {"requests": [{"request": "GET https://secure.meshlab.test/productpage"}]},
    "ingress.mtls": {"requests": [{"request": "GET https://mutual.meshlab.test/productpage"}]},
    "ingress.jwt": {"requests": [{"request": "GET https://token.meshlab.test/productpage"}]},
    "gateway.https": {"requests": [{"request": "GET https://secure.meshlab.test/productpage"}]},
    "gateway.jwt": {"requests": [{"request": "GET https://token.meshlab.test/productpage"}]},
    "egress.blocked": {
        "requests": [{"case": "undeclared host", "request": "GET from sleep-d98cbb556-z2qpw"}]
    },
    "egress.gateway": {"requests": [{"case": "declared host", "request": "GET from sleep-d98cbb556-z2qpw"}]},
}
# What a check says of a fault that its evidence does not tell from others.
TOLD: Mapping[str, str] = {
    "connection-pool-of-one": "client certificate: expected 200 'Simple Bookstore App', got 503 without a title (0 of 3)",
}


def documents_of(fault: Fault) -> list[dict[str, Any]]:
    words = {"NAMESPACE": NAMESPACE, "SYSTEM": ROOT, "ADDRESS": "10.0.0.9", "CLUSTER_DOMAIN": "cluster.local"}
    found = manifests.read("faults", **words).get(fault.name) or LEFT[fault.name]
    return copy.deepcopy(found if isinstance(found, list) else [found])


def world_of(fault: Fault, *, changed: str = "") -> list[Found]:
    """The mesh with a fault in it; of a patch the object that it changes."""
    world = {str(each): each for each in bookinfo()}
    if fault.name == "never-restarted":
        meta = {"name": "reviews-v1-x-y", "namespace": NAMESPACE, "labels": {"app": "reviews"}}
        other = found_of("Pod", {"metadata": meta, "spec": {"containers": MESHED}})
        world[str(other)] = other
    for each in documents_of(fault):
        if changed:
            each["metadata"]["managedFields"] = [{"manager": "kubectl", "time": changed}]
        found = read_as(each)
        known = world.get(str(found))
        world[str(found)] = replace(found, spec={**known.spec, **found.spec}) if known else found
    return list(world.values())

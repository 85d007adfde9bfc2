"""The lab's own policies and callers: Istio's authorization guide for Bookinfo, and more (see the manifest)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import SLEEPER
from meshlab.app.source import Source, find_source
from meshlab.app.traffic_clients import CALLER, INGRESS
from meshlab.config.settings import LabConfig
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.client import Kube
from meshlab.kube.pods import serving
from meshlab.security.authorization.cases import Client
from meshlab.security.authorization.cluster import client_of, identity_of
from meshlab.security.authorization.model import Mesh

# Caller → the service account under which it runs: those of workloads whose own images can't ask.
STAND_INS: Mapping[str, str] = {
    "productpage": "bookinfo-productpage",
    "reviews": "bookinfo-reviews",
}
PREFIX = "authz-as-"  # of the stand-ins' Deployments


def policy_documents(
    namespace: str, mesh: Mesh, *, issuer: str, jwks: str, api_version: str
) -> list[dict[str, Any]]:
    """The policies for Bookinfo in a namespace. issuer, jwks: of the tokens of ratings."""
    words = {
        "NAMESPACE": namespace,
        "TRUST_DOMAIN": mesh.trust_domain,
        "SYSTEM": SYSTEM_NAMESPACE,
        "ISSUER": issuer,
    }
    found: list[dict[str, Any]] = manifests.read("authz-policies", **words)
    for each in found:
        each["apiVersion"] = api_version
        each["metadata"]["namespace"] = namespace
        for rule in each["spec"].get("jwtRules") or ():
            rule["jwks"] = jwks
    return found


def client_documents(namespace: str) -> list[dict[str, Any]]:
    """The stand-ins' Deployments, with official images."""
    found = []
    for name, account in STAND_INS.items():
        document = manifests.read("authz-client", NAME=PREFIX + name, ACCOUNT=account)
        document["metadata"]["namespace"] = namespace
        found.append(document)
    return found


def find_clients(kube: Kube, config: LabConfig, mesh: Mesh) -> tuple[tuple[Client, ...], dict[str, Source]]:
    """Who asks, and from which pod. The gateway is among them where the lab has a route through it.

    Raises KubeError when one of the pods is not Ready.
    """
    namespace = config.namespace
    selectors = {
        "sleep": SLEEPER.selector,
        **{name: f"app={PREFIX}{name}" for name in STAND_INS},
        "outside": CALLER.selector,
    }
    sources = {name: find_source(kube, namespace, selector) for name, selector in selectors.items()}
    pods = {pod.name: pod for pod in kube.pods(namespace)}
    clients = [client_of(name, selectors[name], pods[source.pod], mesh) for name, source in sources.items()]
    ready = serving(kube.pods(SYSTEM_NAMESPACE, f"app={INGRESS}")) if config.scope == "mesh" else []
    if ready:
        through = f"{INGRESS}.{SYSTEM_NAMESPACE}.svc"
        ip = ready[0].ip if len(ready) == 1 else None
        clients.append(Client("gateway", CALLER.selector, identity_of(ready[0], mesh), ip, through))
        sources["gateway"] = sources["outside"]
    return tuple(clients), sources

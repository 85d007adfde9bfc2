"""The lab's own policies and callers: Istio's authorization guide for Bookinfo, and more (see the manifest)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import PAGE_PATH, PAGE_TITLE, SLEEPER
from meshlab.app.once import n_requests
from meshlab.app.source import Source, find_source
from meshlab.app.traffic_clients import CALLER, INGRESS, ingress_host, why_no_ingress
from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.client import Kube
from meshlab.kube.pods import serving
from meshlab.security.authorization.cases import Client
from meshlab.security.authorization.cluster import client_of, identity_of
from meshlab.security.authorization.model import Mesh
from meshlab.security.authorization.observe import RBAC_BODY

# Caller → the service account under which it runs: those of workloads whose own images can't ask.
STAND_INS: Mapping[str, str] = {
    "productpage": "bookinfo-productpage",
    "reviews": "bookinfo-reviews",
}
PREFIX = "authz-as-"  # of the stand-ins' Deployments
TRIES = 3  # requests that tell whether a gateway serves the page: one alone may fail by chance


def policy_documents(facts: Facts, *, issuer: str, jwks: str, api_version: str) -> list[dict[str, Any]]:
    """Make the policies for Bookinfo in our namespace.

    Args:
        facts: Of the mesh.
        issuer: Of the tokens of ratings.
        jwks: The key set of that issuer.
        api_version: In which the cluster serves Istio's security objects.

    Returns:
        The objects.
    """
    namespace = facts.namespace
    words = {
        "NAMESPACE": namespace,
        "TRUST_DOMAIN": facts.trust_domain,
        "SYSTEM": facts.ingress_namespace,
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


def find_clients(
    kube: Kube, config: LabConfig, mesh: Mesh, facts: Facts
) -> tuple[tuple[Client, ...], dict[str, Source]]:
    """Find who asks, and from which pod. The gateway is among them where the lab has a route through it.

    On a mesh of somebody else that is asked: a gateway of that name may serve other ports, or take no route of ours.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        mesh: All that decides.
        facts: Of the mesh.

    Returns:
        The callers, and name → the pod that sends.

    Raises:
        KubeError: One of the pods is not Ready.
        ExecError: The gateway can't be asked.
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
    ready = serving(kube.pods(facts.ingress_namespace, f"app={INGRESS}")) if config.scope == "mesh" else []
    if ready and (config.ours or _serves_page(kube, facts, sources["outside"])):
        through = ingress_host(facts)
        ip = ready[0].ip if len(ready) == 1 else None
        clients.append(Client("gateway", CALLER.selector, identity_of(ready[0], mesh), ip, through))
        sources["gateway"] = sources["outside"]
    return tuple(clients), sources


def _serves_page(kube: Kube, facts: Facts, outside: Source) -> bool:
    """Whether our page, or a policy's refusal, is what the gateway answers."""
    if why_no_ingress(kube, facts):
        return False
    url = f"http://{ingress_host(facts)}{PAGE_PATH}"
    found = n_requests(kube, outside, url, TRIES, expect=PAGE_TITLE, request_timeout=5)
    return found.passed > 0 or ("403" in found.by_status and RBAC_BODY in found.odd)

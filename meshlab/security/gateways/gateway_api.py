"""The secure ingress by Gateway API: its objects, the gateway that Istio makes for them, and whether it is gone again.

Everything stands in the app's namespace. Who sends what, and what must come of it, is as at Istio's own gateway.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from meshlab import manifests
from meshlab.app.room import closing_for
from meshlab.core.waiting import Clock, wait
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.control_plane import objects_if_served
from meshlab.istio.gateway_api import API_VERSION, OWN_GATEWAY, OWN_GATEWAY_ACCOUNT
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import condition
from meshlab.kube.rollout import wait_deployments
from meshlab.security.gateways import answering, ingress
from meshlab.security.gateways.entry import ROLLOUT_TIMEOUT, IngressProbe, forwarded, gateway_pods
from meshlab.security.gateways.ingress import HOSTS, MUTUAL, Alter, Document, unchanged
from meshlab.security.gateways.pki import GatewayKeys, make_keys
from meshlab.security.gateways.settled import wait_key
from meshlab.security.gateways.tokens import Issuer

SERVICE = OWN_GATEWAY_ACCOUNT  # Istio gives Deployment, Service and account one name
MUTUAL_PORT = 8443
ALLOWING = "meshlab-gateway-own-calls"  # the policy that is needed on a closed mesh only
OWNER_LABEL = "gateway.networking.k8s.io/gateway-name"  # of everything that Istio makes for a Gateway
# Istio's own way to ask for client certificates, where the Gateway has no field for it.
TERMINATE_MODE = "gateway.istio.io/tls-terminate-mode"
MADE = (
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Pod"),
)
PROGRAMMED_TIMEOUT, GONE_TIMEOUT = 60.0, 90.0  # seconds


def documents(
    mesh: Mesh, keys: GatewayKeys, issuer: Issuer, *, frontend: bool = True, closed: bool = False
) -> list[Document]:
    """Make everything that the gateway needs.

    Args:
        mesh: Its facts, for the app's namespace.
        keys: What the gateway shows and accepts.
        issuer: Of the tokens that it accepts.
        frontend: The Gateway can say which clients it takes; else Istio's option of its listener does.
        closed: Policies of others refuse what nobody allows.

    Returns:
        Secrets, ConfigMap, Gateway, routes and policies.
    """
    tag, namespace = secrets.token_hex(3), mesh.namespace
    found: list[Document] = manifests.read(
        "gateway-api",
        NAMESPACE=namespace,
        TAG=tag,
        CLIENTS=keys.clients_authority.decode(),
        **ingress.token_words(mesh, issuer),
    )
    if not closed:
        found = _without_allowing(found)
    if not frontend:
        found = [each for each in found if each["kind"] != "ConfigMap"]
        [gateway] = [each for each in found if each["kind"] == "Gateway"]
        del gateway["spec"]["tls"]
        for listener in gateway["spec"]["listeners"]:
            if listener["hostname"] == MUTUAL:  # the authority is in its Secret
                listener["tls"]["options"] = {TERMINATE_MODE: "MUTUAL"}
    return [*ingress.key_secrets(keys, tag, namespace), *found]


def _without_allowing(objects: Sequence[Document]) -> list[Document]:
    return [each for each in objects if each["metadata"]["name"] != ALLOWING]


def _pod_labels(objects: Sequence[Document], fit: Alter) -> dict[str, str]:
    """The labels of the gateway's pods: the Gateway's, as the settings make them, and Istio's own."""
    [gateway] = fit([each for each in objects if each["kind"] == "Gateway"])
    return {**(gateway["metadata"].get("labels") or {}), OWNER_LABEL: OWN_GATEWAY}


@contextmanager
def opened(
    kube: Kube,
    istioctl: Istioctl,
    changes: Changes,
    mesh: Mesh,
    *,
    frontend: bool,
    keys: GatewayKeys | None = None,
    alter: Alter = unchanged,
    fit: Alter = unchanged,
) -> Iterator[IngressProbe]:
    """Apply the objects, wait until the gateway that Istio makes for them uses them, and keep port-forwards to it open.

    Args:
        kube: Client of the cluster.
        istioctl: The istioctl of the run.
        changes: Puts everything back; that is its owner's to do.
        mesh: Its facts, for the app's namespace.
        frontend: The Gateway can say which clients it takes.
        keys: Of the gateway; made when not given.
        alter: What a planted fault makes of the objects.
        fit: What the settings make of them, and of the pod that serves the keys. Istio gives the Gateway's labels to
            the pods that it makes for it.

    Yields:
        The open gateway.

    Raises:
        KubeError: The API refuses an object, or no pod runs a proxy.
        RolloutError: The gateway, or the pod that serves the keys, does not start.
        WaitTimeout: The gateway does not take the configuration in time.
        IstioError: No proxy can be waited for.
    """
    namespace = mesh.namespace
    image = answering.proxy_image(kube, namespace, *mesh.istio_namespaces)
    keys, issuer = keys or make_keys(*HOSTS), Issuer()
    changes.apply(*fit(ingress.key_server(namespace, image, issuer)))
    objects = documents(mesh, keys, issuer, frontend=frontend, closed=True)
    if not closing_for(kube, mesh, namespace, [_pod_labels(objects, fit)], but=()):
        objects = _without_allowing(objects)
    wait_deployments(kube, namespace, [ingress.JWKS], timeout=ROLLOUT_TIMEOUT)
    changes.apply(*fit(alter(objects)))
    wait_deployments(kube, namespace, [SERVICE], timeout=ROLLOUT_TIMEOUT)
    wait_programmed(kube, namespace)
    pods = gateway_pods(kube, SERVICE, namespace)
    wait_acknowledged(kube, istioctl, pods)
    wait_key(kube, pods, issuer.key_id)
    with forwarded(kube, SERVICE, namespace, keys, issuer, mutual=MUTUAL_PORT) as probe:
        yield probe


def wait_programmed(kube: Kube, namespace: str, *, clock: Clock | None = None) -> None:
    """Wait until istiod has taken the Gateway and its routes as they are now.

    Args:
        kube: Client of the cluster.
        namespace: Of the objects.
        clock: Of the wait; the real one where not given.

    Raises:
        WaitTimeout: It has not; the text names what it says of them.
    """
    wait(
        f"the Gateway {namespace}/{OWN_GATEWAY} to be programmed, and its routes accepted",
        lambda: _not_taken(kube, namespace),
        ready=lambda lacks: not lacks,
        describe=lambda lacks: "; ".join(lacks) or "all are",
        timeout=PROGRAMMED_TIMEOUT,
        delay=0.2,
        remedy=f"kubectl -n {namespace} describe gateway {OWN_GATEWAY}; istiod's log tells whether it serves Gateway API",
        clock=clock,
    )


def _not_taken(kube: Kube, namespace: str) -> list[str]:
    lacks = []
    gateway = kube.get(API_VERSION, "Gateway", OWN_GATEWAY, namespace) or {"metadata": {}}
    told = condition(gateway, "Programmed")
    if not _holds(told, gateway):
        lacks.append(
            f"Gateway: {told.get('reason', 'nothing is said of it')} {told.get('message', '')}".strip()
        )
    for route in kube.objects(API_VERSION, "HTTPRoute", namespace):
        refs = (route.get("spec") or {}).get("parentRefs") or []
        if not any(ref.get("name") == OWN_GATEWAY for ref in refs):
            continue
        parents = (route.get("status") or {}).get("parents") or []
        accepted = [condition({"status": parent}, "Accepted") for parent in parents]
        if len(accepted) < len(refs) or not all(_holds(each, route) for each in accepted):
            lacks.append(f"HTTPRoute {route['metadata']['name']}: accepted by {len(accepted)} of {len(refs)}")
    return lacks


def _holds(told: Mapping[str, Any], of: Mapping[str, Any]) -> bool:
    """Whether a condition is True, and said of the object as it is now."""
    now = of["metadata"].get("generation")
    return told.get("status") == "True" and told.get("observedGeneration", now) == now


@contextmanager
def gone_afterwards(kube: Kube, namespace: str, *, clock: Clock | None = None) -> Iterator[None]:
    """After this block, wait until nothing is left of what Istio made for the Gateway.

    Args:
        kube: Client of the cluster.
        namespace: Of the Gateway.
        clock: Of the wait; the real one where not given.

    Raises:
        WaitTimeout: Something is left; the text names it.
    """
    yield
    wait(
        f"what Istio made for the Gateway {namespace}/{OWN_GATEWAY} to be gone",
        lambda: left(kube, namespace),
        ready=lambda found: not found,
        describe=lambda found: ", ".join(found) or "nothing is left",
        timeout=GONE_TIMEOUT,
        delay=0.3,
        remedy="its owner is the Gateway: Kubernetes' garbage collector removes it, see kube-controller-manager's log",
        clock=clock,
    )


def left(kube: Kube, namespace: str) -> Sequence[str]:
    """List what is there of all that Istio makes for the Gateway.

    Args:
        kube: Client of the cluster.
        namespace: Of the Gateway.

    Returns:
        Kind and name of each.
    """
    selector = f"{OWNER_LABEL}={OWN_GATEWAY}"
    return [
        f"{kind} {each['metadata']['name']}"
        for version, kind in MADE
        for each in objects_if_served(kube, version, kind, namespace, selector=selector)
    ]

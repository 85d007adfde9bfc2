"""How a request arrives: mutual TLS or plaintext, by the called side's PeerAuthentication and the caller's DestinationRule.

Only mutual TLS carries an identity. A caller's proxy uses it where the called side takes it (auto mutual
TLS), unless a DestinationRule says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meshlab.security.authorization.model import (
    Answer,
    Decision,
    DestinationRule,
    Mesh,
    Outcome,
    PeerMode,
    Request,
    Target,
    Workload,
)

GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"  # label of a Gateway API gateway's pods
OWN_TLS = ("SIMPLE", "MUTUAL")  # modes of a DestinationRule that bring certificates of their own


def applies(target: Target, workload: Workload, root_namespace: str) -> Answer:
    """Whether an object is for a workload; None where its target is not understood."""
    if target.namespace not in (workload.namespace, root_namespace):
        return False
    if target.refs:  # of gateways and waypoints: never for a sidecar, whatever its labels
        gateway = workload.labels.get(GATEWAY_NAME)
        if gateway is None:
            return False
        if target.namespace == workload.namespace and f"Gateway/{gateway}" in target.refs:
            return True
        return False if all(one.startswith("Gateway/") for one in target.refs) else None
    if any(workload.labels.get(key) != value for key, value in target.labels.items() if "*" not in value):
        return False
    return None if target.unknown else True


def mutual_tls(mesh: Mesh, workload: Workload, port: int) -> str | None:
    """Find the mode of mutual TLS for a workload's port: STRICT, PERMISSIVE or DISABLE.

    Its own PeerAuthentication decides, else its namespace's, else the mesh's, else it is PERMISSIVE; of
    several in one of these layers the oldest alone. None where one that matters is not understood.
    """
    layers: dict[str, PeerMode] = {}
    for one in sorted(mesh.peers, key=lambda each: (each.created, f"{each.name}.{each.target.namespace}")):
        root = one.target.namespace == mesh.root_namespace
        if root and one.target.labels:  # Istio ignores a selector in the root namespace
            continue
        meant = applies(one.target, workload, mesh.root_namespace)
        if meant is None:
            return None
        if meant:
            layer = "mesh" if root else "workload" if one.target.labels else "namespace"
            layers.setdefault(layer, one)
    mode = "PERMISSIVE"
    for layer in ("mesh", "namespace", "workload"):
        if layer in layers and layers[layer].mode != "UNSET":
            mode = layers[layer].mode
    own = layers["workload"].ports.get(port, "UNSET") if "workload" in layers else "UNSET"
    return mode if own == "UNSET" else own


def arrive(mesh: Mesh, workload: Workload, request: Request) -> Request | Decision:
    """Say what the called proxy sees of a request.

    Args:
        mesh: All that decides.
        workload: The workload that is called.
        request: The request; its peer is the caller's identity, however it is sent.

    Returns:
        The request as it arrives, without a peer where it comes in plaintext; or the decision that ends it.
    """
    mode = mutual_tls(mesh, workload, request.port)
    if mode is None:
        flaws = tuple(f"{one.name}: {flaw}" for one in mesh.peers for flaw in one.target.unknown)
        return Decision(Outcome.UNKNOWN, "a PeerAuthentication is not understood", unknown=flaws)
    if request.peer is None:
        if mode == "STRICT":
            return Decision(Outcome.REFUSED, "plaintext, and mutual TLS is STRICT")
        return request
    sent = sent_with(mesh, request)
    if sent is None:
        why = "a DestinationRule's TLS for this call is not understood"
        return Decision(Outcome.UNKNOWN, why, unknown=(f"DestinationRule for {request.service}",))
    plain = sent == "DISABLE" or (sent == "" and (mode == "DISABLE" or not mesh.auto_mtls))
    if plain and mode == "STRICT":
        return Decision(Outcome.UNREACHABLE, "its own proxy sends plaintext, and mutual TLS is STRICT")
    if not plain and mode == "DISABLE":
        return Decision(Outcome.UNREACHABLE, "its own proxy sends mutual TLS, and the called side takes none")
    return replace(request, peer=None, sni="") if plain else request


def sent_with(mesh: Mesh, request: Request) -> str | None:
    """Find the TLS mode that the caller's DestinationRule sets: DISABLE, ISTIO_MUTUAL, empty for none; None if unclear."""
    if request.peer is None or not request.service:
        return ""
    host = f"{request.service}.svc.{mesh.cluster_domain}"
    own = request.service.partition(".")[2]
    for namespace in dict.fromkeys((request.peer.namespace, own, mesh.root_namespace)):
        found = _best([one for one in mesh.destinations if _meets(one, namespace, request, host, mesh)])
        if found:
            modes = {one.ports.get(request.port, one.mode) for one in found}
            mode = modes.pop()
            return None if modes or mode in OWN_TLS or any(one.unknown for one in found) else mode
    return ""


def _meets(one: DestinationRule, namespace: str, request: Request, host: str, mesh: Mesh) -> bool:
    peer = request.peer
    seen = peer is not None and (
        not one.export_to
        or "*" in one.export_to
        or peer.namespace in one.export_to
        or ("." in one.export_to and peer.namespace == one.namespace)
    )
    short = "." not in one.host and "*" not in one.host
    full = f"{one.host}.{one.namespace}.svc.{mesh.cluster_domain}" if short else one.host
    meant = full == host or (full.startswith("*") and host.endswith(full[1:]))
    return seen and meant and one.namespace == namespace


def _best(found: Sequence[DestinationRule]) -> list[DestinationRule]:
    """Those with the most specific host: one without a wildcard, else the longest."""

    def rank(one: DestinationRule) -> tuple[bool, int]:
        exact = not one.host.startswith("*")
        return exact, 0 if exact else len(one.host)

    best = max(map(rank, found), default=None)
    return [one for one in found if rank(one) == best]

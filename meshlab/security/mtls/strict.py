"""STRICT mutual TLS for the mesh or for a namespace, and the pair of pods for which it is switched off."""

from __future__ import annotations

from typing import Any

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.istio.facts import NETWORKING, SECURITY, served_version
from meshlab.kube.client import Kube

KIND, RULE = "PeerAuthentication", "DestinationRule"
GROUPS = {KIND: SECURITY, RULE: NETWORKING}
NAME = "default"  # of ours, as in Istio's own task "Mutual TLS migration"
PROBE, PROBE_CLIENT = "meshlab-mtls-probe", "meshlab-mtls-probe-client"
PROBE_PORT, PROBE_PATH = 9080, "/details/0"


def strict_policy(kube: Kube, config: LabConfig, root_namespace: str) -> dict[str, Any]:
    """Make a PeerAuthentication that demands mutual TLS.

    It is for the whole mesh where the run may write so far, else for the app's namespace.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        root_namespace: Of the mesh.

    Returns:
        The policy.

    Raises:
        KubeError: The API server refuses it.
    """
    return peer_policy(kube, root_namespace if config.scope == "mesh" else config.namespace, "STRICT")


def peer_policy(kube: Kube, namespace: str, mode: str) -> dict[str, Any]:
    """A PeerAuthentication of a whole namespace (of the mesh, for the root namespace). mode: STRICT or PERMISSIVE.

    Of several in a namespace istiod takes the oldest one without a selector, so one that is there is changed
    instead of adding another. Raises KubeError.
    """
    version = _served(kube, KIND)
    whole = [
        each for each in kube.objects(version, KIND, namespace) if not each.get("spec", {}).get("selector")
    ]
    oldest = min(whole, key=lambda each: each["metadata"].get("creationTimestamp", ""), default=None)
    return {
        "apiVersion": version,
        "kind": KIND,
        "metadata": {"name": oldest["metadata"]["name"] if oldest else NAME, "namespace": namespace},
        "spec": {"mtls": {"mode": mode}},
    }


def probe_objects(
    namespace: str, *, server: str, client: str, kube: Kube
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The probe pair (its pods and its service), and the policies that switch mutual TLS off for it.

    server, client: images, of an HTTP server on port 9080 that answers /details/0, and one with sh and curl. kube: asked
    in which versions it serves the policies' kinds.
    """
    pair: list[dict[str, Any]] = []
    policies: list[dict[str, Any]] = []
    images = {PROBE: server, PROBE_CLIENT: client}
    for each in manifests.read("mtls-probe")["items"]:
        each["metadata"]["namespace"] = namespace
        if each["kind"] == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            container["image"] = images[each["metadata"]["name"]]
        if each["kind"] in GROUPS:
            each["apiVersion"] = _served(kube, each["kind"])
        (policies if each["kind"] in GROUPS else pair).append(each)
    return pair, policies


def _served(kube: Kube, kind: str) -> str:
    """Group and version of a kind in this cluster; today's, which the API server then refuses, without any."""
    group = GROUPS[kind]
    return served_version(kube, group, kind) or f"{group}/v1"

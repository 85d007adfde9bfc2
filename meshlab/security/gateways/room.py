"""What the run's own calls through the gateways need on a closed mesh: policies where the gateways are."""

from __future__ import annotations

from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import SLEEPER
from meshlab.app.room import POLICY, SECURITY, closing_for, served
from meshlab.app.traffic_clients import ingress_host
from meshlab.config.settings import LabConfig
from meshlab.istio.mesh import EGRESS, INGRESS, Mesh
from meshlab.kube.client import Kube
from meshlab.security.gateways.egress import DECLARED, OUTSIDE
from meshlab.security.gateways.ingress import HOSTS

OWN = ("meshlab-own-ingress", "meshlab-own-egress")  # policies of ours


def at_gateways(kube: Kube, mesh: Mesh, config: LabConfig) -> list[dict[str, Any]]:
    """Make the policies that allow our calls at the gateways.

    Args:
        kube: Client of the cluster.
        mesh: Its facts for our namespace.
        config: The settings of the run.

    Returns:
        The objects; none where the run may not change the mesh, or where nothing refuses our calls there.

    Raises:
        KubeError: The API server refuses it.
    """
    version = served(kube, SECURITY, POLICY)
    if config.scope != "mesh" or version is None:
        return []
    hosts = {
        INGRESS: (ingress_host(mesh), *HOSTS),
        EGRESS: (mesh.service_host(DECLARED, OUTSIDE),),
    }
    places = {"INGRESS": mesh.ingress_namespace, "EGRESS": mesh.egress_namespace}
    found = []
    for policy in manifests.read("room-gateways", **places):
        policy["apiVersion"] = version
        labels, [rule] = policy["spec"]["selector"]["matchLabels"], policy["spec"]["rules"]
        kind, place = labels["istio"], policy["metadata"]["namespace"]
        if all(each.kind != kind for each in mesh.gateways):
            continue
        if not closing_for(kube, mesh, place, [{"app": f"istio-{kind}", **labels}], but=OWN):
            continue
        # A Host header may carry a port.
        rule["to"][0]["operation"]["hosts"] = [name for host in hosts[kind] for name in (host, f"{host}:*")]
        if "from" in rule:
            caller = mesh.principal(mesh.namespace, SLEEPER.service_account)
            rule["from"][0]["source"]["principals"] = [caller]
        found.append(policy)
    return found

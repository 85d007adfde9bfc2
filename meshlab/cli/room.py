"""Whether a cluster of somebody else has room for the run's pods, and takes them: asked before anything is touched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meshlab.app import fence
from meshlab.app.pods import MESHED, PLAIN
from meshlab.cli import admission
from meshlab.cli.admission import FORBIDDEN, RAISE, listed
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError, Problem
from meshlab.istio.facts import read_facts
from meshlab.istio.mesh import Mesh
from meshlab.istio.names import INJECTOR_CONFIG_MAP, of_revision
from meshlab.kube.client import Kube
from meshlab.shared_cluster.capacity import (
    ContainerNeed,
    PodNeed,
    Shortfall,
    limit_problems,
    need_of,
    node_shortfalls,
    quota_shortfalls,
    rooms,
    used_by,
    with_defaults,
)

Object = Mapping[str, Any]
OPENING = ("create", "patch", "delete")  # what a NetworkPolicy of ours takes, from its making to its removal
MAKE_ROOM = "make room (`kubectl describe nodes` shows who requests what), or name nodes: app.scheduling"


def problems(kube: Kube, config: LabConfig) -> list[Problem]:
    """Name what the cluster lacks for the run's pods, and why it would refuse them.

    What this account may not read is not judged, nor is a cluster that does not answer: its start says that.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.

    Returns:
        The problems.
    """
    found: list[Problem] = []
    try:
        mesh = read_facts(kube, config.namespace)
        if not mesh.control_planes:
            return []  # the run installs Istio, or says that there is none
        for asked in (_shortfalls, _closed, admission.refusals):
            found += asked(kube, config, mesh)
    except KubeError:
        return found  # what was found before stays true
    return found


def wanted_pods(sidecar: ContainerNeed, init: ContainerNeed | None = None) -> list[PodNeed]:
    """List the pods that run at one time.

    Args:
        sidecar: What a sidecar asks for.
        init: What its init container asks for; None where there is none.

    Returns:
        The pods; their own containers ask for nothing.
    """
    before = (init,) if init is not None else ()
    meshed = [PodNeed(name, (ContainerNeed("app"), sidecar), before) for name in MESHED]
    return [*meshed, *(PodNeed(name, (ContainerNeed("app"),)) for name in PLAIN)]


def _shortfalls(kube: Kube, config: LabConfig, mesh: Mesh) -> list[Problem]:
    namespace = config.namespace
    values = _injected(kube, mesh)
    proxy = (values.get("global") or {}).get("proxy") or {}
    init = (values.get("global") or {}).get("proxy_init") or {}
    asked = need_of("istio-proxy", proxy.get("resources"))
    first = need_of("istio-init", init.get("resources") or proxy.get("resources"))
    ranges, quotas = listed(kube, "LimitRange", namespace), listed(kube, "ResourceQuota", namespace)
    wanted = [with_defaults(pod, ranges) for pod in wanted_pods(asked, first)]
    pods, all_nodes = listed(kube, "Pod"), listed(kube, "Node")
    own = [pod for pod in pods if _is_own(pod, namespace)]  # of a run that goes on: there already
    nodes = rooms(
        all_nodes,
        [pod for pod in pods if pod not in own],
        selector=config.app.scheduling.node_selector,
        tolerations=config.app.scheduling.tolerations,
    )
    found = [
        Problem(each.where, each.what, MAKE_ROOM)
        for each in (node_shortfalls(wanted, nodes) if all_nodes else ())
    ]
    told: list[Shortfall] = [
        *quota_shortfalls(wanted, quotas, already=used_by(own)),
        *limit_problems(wanted, ranges),
    ]
    return [*found, *(Problem(f"{each.where} of namespace {namespace}", each.what, RAISE) for each in told)]


def _injected(kube: Kube, mesh: Mesh) -> dict[str, Any]:
    """The values with which istiod injects sidecars; empty where they can't be read."""
    name = of_revision(INJECTOR_CONFIG_MAP, mesh.revision)
    try:
        found = kube.get("v1", "ConfigMap", name, mesh.system_namespace)
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        return {}
    try:
        values = json.loads(((found or {}).get("data") or {}).get("values", ""))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _is_own(pod: Object, namespace: str) -> bool:
    meta = pod["metadata"]
    names = {name.rpartition("-v")[0] or name for name in (*MESHED, *PLAIN)}
    return meta.get("namespace") == namespace and (meta.get("labels") or {}).get("app") in names


def _closed(kube: Kube, config: LabConfig, mesh: Mesh) -> list[Problem]:
    """NetworkPolicies that close the namespace, where this account may not open it for the run's own traffic."""
    namespace = config.namespace
    lacks = [
        verb for verb in OPENING if not kube.may(verb, "networking.k8s.io", "networkpolicies", namespace)
    ]
    if not lacks or not fence.own_traffic(kube, mesh, config):
        return []
    what = f"NetworkPolicies close it for the run's pods, and a policy for them may not be made ({', '.join(lacks)})"
    remedy = (
        f"grant it with a Role: apiGroups ['networking.k8s.io'], resources [networkpolicies], verbs "
        f"[{', '.join(OPENING)}]; or name another namespace: app.namespace"
    )
    return [Problem(f"namespace {namespace}", what, remedy)]

"""What the run's own calls need on a hardened mesh: policies in its own namespace, and only where others close it.

A mesh that refuses what nobody allows, demands mutual TLS, or shows a namespace a part of its services is a good
mesh. The run then says in policies of its own which calls are its own; on other meshes it makes none.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import PAGE_PATH, PORT, PRODUCTPAGE, REVIEWS_V1, SLEEPER, WORKLOADS, Workload
from meshlab.app.metrics_server import MetricsServer
from meshlab.app.once import n_requests
from meshlab.app.source import find_source
from meshlab.app.traffic_clients import CALLER, INGRESS, TCP_ECHO
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import KubeError
from meshlab.istio.control_plane import objects_if_served
from meshlab.istio.gateway_api import OWN_GATEWAY_ACCOUNT
from meshlab.istio.in_force import namespace_wide
from meshlab.istio.mesh import Mesh
from meshlab.kube.apply import ObjectRef
from meshlab.kube.client import Kube
from meshlab.kube.pods import serving

Object = dict[str, Any]
SECURITY = (
    "security.istio.io/v1",
    "security.istio.io/v1beta1",
)  # the newer first: Istio 1.21 has the other only
NETWORKING = ("networking.istio.io/v1", "networking.istio.io/v1beta1")
POLICY, PEER, SIDECAR = "AuthorizationPolicy", "PeerAuthentication", "Sidecar"
CALLS, PLAINTEXT = (
    "meshlab-own-calls",
    "meshlab-own-plaintext",
)  # begin the names of policies of ours: by identity, and without one; the workload's follows
SERVERS = tuple(each for each in (*WORKLOADS, TCP_ECHO) if each.port)
SCOPE = "meshlab-own-scope"  # Sidecar of ours
ACCOUNTS = (
    SLEEPER,
    PRODUCTPAGE,
    REVIEWS_V1,
)  # who calls, by account: the stand-ins of check-authz share them
TRACERS = ("opentelemetry", "zipkin")  # kinds of provider that sidecars call
DRY_RUN = "istio.io/dry-run"
REFUSED = "000"  # curl's status where a connection is closed: how STRICT refuses plaintext


def served(kube: Kube, versions: Sequence[str], kind: str) -> str | None:
    """Find the first of some versions in which the cluster serves a kind of Istio's.

    Args:
        kube: Client of the cluster.
        versions: Group and version, the wanted ones first.
        kind: The kind.

    Returns:
        The version; None where it serves none of them.
    """
    for version in versions:
        try:
            kube.resource(version, kind)
        except KubeError as problem:
            if problem.status != 404:
                raise
        else:
            return version
    return None


def closed_workloads(kube: Kube, mesh: Mesh, config: LabConfig) -> tuple[Workload, ...]:
    """Find our servers that refuse our calls unless a policy allows them.

    They are those for which the root namespace or ours has an ALLOW policy of others: where there is one, what none of
    them names is refused. Gateways' and dry-run policies refuse nothing here.

    Args:
        kube: Client of the cluster.
        mesh: Its facts for our namespace.
        config: The settings of the run.

    Returns:
        The workloads.

    Raises:
        KubeError: The API server refuses it.
    """
    there = _of_both(kube, mesh, served(kube, SECURITY, POLICY), POLICY)
    others = [each for each in there if not _is_own(each, mesh.namespace)]
    return tuple(
        server for server in SERVERS if any(_closes(each, [pod_labels(server, config)]) for each in others)
    )


def closing_for(
    kube: Kube, mesh: Mesh, namespace: str, pods: Sequence[Mapping[str, str]], *, but: Sequence[str]
) -> tuple[str, ...]:
    """Name the policies that refuse what nobody allows, to some pods.

    Args:
        kube: Client of the cluster.
        mesh: Its facts.
        namespace: Of the pods.
        pods: Their labels.
        but: Names of policies of ours in that namespace, which refuse nothing.

    Returns:
        `namespace/name` of each.

    Raises:
        KubeError: The API server refuses it.
    """
    found = _of_root_and(namespace, kube, mesh, served(kube, SECURITY, POLICY), POLICY)
    named = ((each["metadata"]["namespace"], each["metadata"]["name"], each) for each in found)
    return tuple(
        f"{space}/{name}"
        for space, name, each in named
        if not (space == namespace and name in but) and _closes(each, pods)
    )


def _of_both(kube: Kube, mesh: Mesh, version: str | None, kind: str) -> list[Object]:
    return _of_root_and(mesh.namespace, kube, mesh, version, kind)


def _of_root_and(namespace: str, kube: Kube, mesh: Mesh, version: str | None, kind: str) -> list[Object]:
    """Objects of the root namespace and of another one; none of a kind that is not served."""
    spaces = dict.fromkeys((mesh.root_namespace, namespace)) if version else ()
    return [each for space in spaces for each in objects_if_served(kube, version or "", kind, space)]


def _closes(policy: Mapping[str, Any], pods: Sequence[Mapping[str, str]]) -> bool:
    meta, spec = policy["metadata"], policy.get("spec") or {}
    if str((meta.get("annotations") or {}).get(DRY_RUN)).lower() == "true":
        return False
    if (spec.get("action") or "ALLOW") != "ALLOW" or spec.get("targetRef") or spec.get("targetRefs"):
        return False
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    return any(wanted.items() <= labels.items() for labels in pods)


def _is_own(policy: Mapping[str, Any], namespace: str) -> bool:
    own = {_name(kind, each) for kind in (CALLS, PLAINTEXT) for each in SERVERS}
    return policy["metadata"]["namespace"] == namespace and policy["metadata"]["name"] in own


def _name(kind: str, server: Workload) -> str:
    return f"{kind}-{server.name}"


def pod_labels(workload: Workload, config: LabConfig) -> dict[str, str]:
    """List the labels of a workload's pods.

    Args:
        workload: One of the run's.
        config: The settings of the run, which may add labels to all of its pods.

    Returns:
        The labels.
    """
    return {**config.app.labels, **_selector(workload)}


def _selector(workload: Workload) -> dict[str, str]:
    return {"app": workload.app, **({"version": workload.version} if workload.version else {})}


def before_pods(kube: Kube, mesh: Mesh, config: LabConfig, prometheus: MetricsServer | None) -> list[Object]:
    """Make what must be there before the first pod: policies for our calls, and a Sidecar that shows what they need.

    Args:
        kube: Client of the cluster.
        mesh: Its facts for our namespace.
        config: The settings of the run.
        prometheus: The mesh's, where our sidecars call it.

    Returns:
        The objects; none on a mesh that does not need them.

    Raises:
        KubeError: The API server refuses it.
    """
    found = []
    if closed := closed_workloads(kube, mesh, config):
        found += _own_calls(kube, mesh, config, closed)
    if (scope := _own_scope(kube, mesh, prometheus)) is not None:
        found.append(scope)
    return found


def for_plaintext(kube: Kube, mesh: Mesh, config: LabConfig) -> list[Object]:
    """Make what the caller without a sidecar needs: its pod and Bookinfo must be Ready.

    Whether plaintext is refused is asked by a request. Where it is, our namespace allows it until STRICT is proven;
    a namespace that has a PeerAuthentication of its own stays as it is.

    Args:
        kube: Client of the cluster.
        mesh: Its facts for our namespace.
        config: The settings of the run.

    Returns:
        The objects; none on a mesh that does not need them.

    Raises:
        KubeError: No pod of the caller is Ready.
        ExecError: The request can't be sent.
    """
    found = []
    namespace, version = mesh.namespace, served(kube, SECURITY, POLICY)
    if version is not None and (closed := closed_workloads(kube, mesh, config)):
        callers = [pod.ip for pod in serving(kube.pods(namespace, CALLER.selector)) if pod.ip]
        found += [
            plaintext_to(
                _name(PLAINTEXT, each), _selector(each), each.port, namespace, callers, version=version
            )
            for each in closed
        ]
    peers = _of_both(kube, mesh, served(kube, SECURITY, PEER), PEER)
    if peers and namespace_wide(peers, namespace) is None and _plaintext_refused(kube, namespace):
        found.append(
            {
                "apiVersion": peers[0]["apiVersion"],
                "kind": PEER,
                "metadata": {"name": "default", "namespace": namespace},
                "spec": {"mtls": {"mode": "PERMISSIVE"}},
            }
        )
    return found


def _plaintext_refused(kube: Kube, namespace: str) -> bool:
    source = find_source(kube, namespace, CALLER.selector)
    url = f"http://{host_port(f'{PRODUCTPAGE.app}.{namespace}.svc', PORT)}{PAGE_PATH}"
    return REFUSED in n_requests(kube, source, url, 1, request_timeout=5).by_status


def own_policies(kube: Kube, namespace: str) -> tuple[ObjectRef, ...]:
    """Find the policies of ours that are there: check-authz takes them away for as long as it proves others.

    Args:
        kube: Client of the cluster.
        namespace: The app's.

    Returns:
        What they are called; none on a mesh that did not need them.

    Raises:
        KubeError: The API server refuses it.
    """
    version = served(kube, SECURITY, POLICY)
    if version is None:
        return ()
    return tuple(
        ObjectRef(version, POLICY, namespace, each["metadata"]["name"])
        for each in kube.objects(version, POLICY, namespace)
        if _is_own(each, namespace)
    )


def plaintext_to(
    policy: str,
    selector: Mapping[str, str],
    port: int,
    namespace: str,
    callers: Sequence[str],
    *,
    version: str,
) -> Object:
    """Allow plaintext from given addresses to one workload.

    Args:
        policy: Name of the policy.
        selector: The workload's labels.
        port: That is called.
        namespace: Where it is.
        callers: Addresses of the pods that call.
        version: Of the API.

    Returns:
        The AuthorizationPolicy.
    """
    found: Object = manifests.read("room-plaintext", NAME=policy, NAMESPACE=namespace)
    found["apiVersion"] = version
    found["spec"]["selector"]["matchLabels"] = dict(selector)
    [rule] = found["spec"]["rules"]
    rule["from"][0]["source"]["ipBlocks"] = list(callers)
    rule["to"][0]["operation"]["ports"] = [str(port)]
    return found


def _own_calls(kube: Kube, mesh: Mesh, config: LabConfig, closed: Sequence[Workload]) -> list[Object]:
    """By account and port; where the run may route through the ingress gateway, its account too."""
    callers = [mesh.principal(mesh.namespace, each.service_account) for each in ACCOUNTS]
    if config.scope == "mesh":
        gateways = kube.pods(mesh.ingress_namespace, f"app={INGRESS}")
        callers += sorted({mesh.principal(pod.namespace, pod.service_account) for pod in gateways})
    if config.security.gateway_api:
        callers.append(mesh.principal(mesh.namespace, OWN_GATEWAY_ACCOUNT))
    version, found = served(kube, SECURITY, POLICY), []
    for each in closed:
        policy: Object = manifests.read("room-calls", NAME=_name(CALLS, each), NAMESPACE=mesh.namespace)
        policy["apiVersion"] = version
        policy["spec"]["selector"]["matchLabels"] = _selector(each)
        [rule] = policy["spec"]["rules"]
        # Only sleep calls the TCP echo.
        rule["from"][0]["source"]["principals"] = callers[:1] if each is TCP_ECHO else list(callers)
        rule["to"][0]["operation"]["ports"] = [str(each.port)]
        found.append(policy)
    return found


def _own_scope(kube: Kube, mesh: Mesh, prometheus: MetricsServer | None) -> Object | None:
    """The root namespace's Sidecar with the hosts that our sidecars call and it hides; None where it hides none."""
    version = served(kube, NETWORKING, SIDECAR)
    found = _of_both(kube, mesh, version, SIDECAR)
    there = [each for each in found if each["metadata"]["name"] != SCOPE]
    root = namespace_wide(there, mesh.root_namespace)
    if root is None or namespace_wide(there, mesh.namespace) is not None:
        return None
    spec = copy.deepcopy(root.get("spec") or {})
    listeners = spec.get("egress") or []
    if not listeners:
        return None
    everywhere = [each for each in listeners if not each.get("port")]  # others show hosts on their port only
    shown = [host for each in everywhere for host in each.get("hosts") or ()]
    missing = [
        each for each in _called(mesh, prometheus) if not any(_shows(one, each, mesh) for one in shown)
    ]
    if not missing:
        return None
    if not everywhere:
        listeners.append({"hosts": []})
    anywhere = (everywhere or listeners)[-1]
    anywhere["hosts"] = [*(anywhere.get("hosts") or ()), *missing]
    return {
        "apiVersion": version,
        "kind": SIDECAR,
        "metadata": {"name": SCOPE, "namespace": mesh.namespace},
        "spec": spec,
    }


def _called(mesh: Mesh, prometheus: MetricsServer | None) -> list[str]:
    """What our sidecars call, as a Sidecar names it: our namespace, collectors of spans, and Prometheus."""
    hosts = [mesh.service_host(prometheus.service, prometheus.namespace)] if prometheus else []
    collectors = hosts_inside((each.service for each in mesh.providers if each.kind in TRACERS), mesh)
    inside = [*hosts, *collectors]
    return ["./*", *dict.fromkeys(f"{host.split('.')[1]}/{host}" for host in inside)]


def hosts_inside(services: Iterable[str], mesh: Mesh) -> list[str]:
    """Find those services of providers that are in the cluster.

    Args:
        services: As the mesh's configuration names them: `namespace/host`, or the host, with or without the domain.
        mesh: Its facts.

    Returns:
        Full names of the services.
    """
    hosts = (_full(each, mesh) for each in services)
    return [host for host in hosts if host.endswith(f".svc.{mesh.cluster_domain}")]


def _full(service: str, mesh: Mesh) -> str:
    """A provider's service, which may be `namespace/host` and may lack the cluster's domain."""
    host = service.rpartition("/")[2]
    return f"{host}.{mesh.cluster_domain}" if host.endswith(".svc") else host


def _shows(pattern: str, wanted: str, mesh: Mesh) -> bool:
    """Whether an entry of `hosts` shows what another one means. A dot is the namespace of the pod."""
    space, _, host = pattern.partition("/")
    wanted_space, _, wanted_host = wanted.partition("/")
    spaces = {mesh.namespace if each == "." else each for each in (space, wanted_space)}
    if space != "*" and len(spaces) > 1:
        return False
    return host in ("*", wanted_host) or (host.startswith("*.") and wanted_host.endswith(host[1:]))

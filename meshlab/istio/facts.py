"""Reads the facts of a mesh: everything that can be asked is asked once, nothing is assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from meshlab.core.errors import KubeError
from meshlab.istio import in_force, mesh_config
from meshlab.istio.control_plane import FORBIDDEN, ControlPlane, control_planes_of, objects_if_served
from meshlab.istio.data_plane import (
    UNKNOWN,
    capture_of,
    cluster_domain_of,
    has_ztunnel,
    sidecars_of,
    sidecars_to_come,
)
from meshlab.istio.gateway_api import API_VERSION as GATEWAY_API
from meshlab.istio.gateway_api import outer
from meshlab.istio.injection import API_VERSION, DATAPLANE_LABEL, KIND, asked_for, called_for, webhooks_in
from meshlab.istio.mesh import (
    AMBIENT,
    BOTH_EDGES,
    EGRESS,
    GATEWAY_API_EDGE,
    INGRESS,
    ISTIO_EDGE,
    NO_EDGE,
    NO_MODE,
    SIDECAR_MODE,
    Gateway,
    Mesh,
    Provider,
)
from meshlab.istio.names import (
    CLUSTER_DOMAIN,
    DEFAULT_REVISION,
    INJECTOR_CONFIG_MAP,
    ISTIOD_SELECTOR,
    SYSTEM_NAMESPACE,
    TRUST_DOMAIN,
    of_revision,
)
from meshlab.kube.changes import MANAGED_BY, MANAGER
from meshlab.kube.client import Kube

Object = dict[str, Any]
Value = TypeVar("Value")
SECURITY, NETWORKING, TELEMETRY = "security.istio.io", "networking.istio.io", "telemetry.istio.io"
VERSIONS = ("v1", "v1beta1", "v1alpha3", "v1alpha1")  # of Istio's kinds, the newest first


def read_facts(kube: Kube, namespace: str) -> Mesh:
    """Read the facts of the mesh as they are for a namespace, which need not be there yet.

    What this account may not read is noted in `unknown`.

    Args:
        kube: Client of the cluster.
        namespace: The app's.

    Returns:
        The facts; without control planes where Istio is not installed.

    Raises:
        KubeError: The API server refuses something for another reason than permissions.
    """
    look = _Looking(kube)
    webhooks = webhooks_in(look.objects(API_VERSION, KIND, fact="tags"))
    deployments = look.objects("apps/v1", "Deployment", selector=ISTIOD_SELECTOR, fact="control_planes")
    planes = control_planes_of(deployments, webhooks)
    gateways = look.objects("apps/v1", "Deployment", selector="istio", fact="gateways")
    space = look.get("v1", "Namespace", namespace, fact="mode")
    labels: dict[str, str] = ((space or {}).get("metadata") or {}).get("labels") or {}
    serving = _serving(planes, called_for(webhooks, labels, namespace), labels)
    if planes and serving is None:
        look.unknown["serving"] = (
            "several control planes run, none is the default, and the namespace names none"
        )
    maps = _config_maps(look, serving, deployments)
    config = mesh_config.merged(mesh_config.parsed(each) for each in maps)
    home = serving.namespace if serving else SYSTEM_NAMESPACE
    values = look.get(
        "v1",
        "ConfigMap",
        of_revision(INJECTOR_CONFIG_MAP, serving.revision if serving else DEFAULT_REVISION),
        home,
        fact="sidecars",
    )
    root = str(config.get("rootNamespace") or home)
    pods = look.objects("v1", "Pod", namespace, fact="sidecars")
    istiod = _deployment(deployments, serving)
    sidecars = sidecars_of(pods)
    if sidecars == UNKNOWN and serving is not None:
        nodes = look.objects("v1", "Node", fact="sidecars")
        sidecars = sidecars_to_come(environment_of(istiod), serving.version, nodes)
    mesh = Mesh(
        namespace,
        planes,
        serving,
        tuple(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in maps),
        config,
        trust_domain=str(config.get("trustDomain") or TRUST_DOMAIN),
        trust_domain_aliases=tuple(map(str, config.get("trustDomainAliases") or ())),
        cluster_domain=cluster_domain_of(pods, istiod, values) or CLUSTER_DOMAIN,
        root_namespace=root,
        sidecars=sidecars,
        capture=capture_of(pods, values),
        ambient=has_ztunnel(look.objects("apps/v1", "DaemonSet", fact="ambient")),
        mode=_mode(labels),
        edge=_edge(look, gateways),
        installed=_installer(istiod),
        unknown=look.unknown,
        gateways=_gateways(gateways),
    )
    return _with_policies(look, mesh)


def _with_policies(look: _Looking, mesh: Mesh) -> Mesh:
    """The facts that policies decide."""
    config, namespace, root = mesh.config, mesh.namespace, mesh.root_namespace
    peers = look.istio(SECURITY, "PeerAuthentication", mesh, fact="mtls")
    sidecars = look.istio(NETWORKING, "Sidecar", mesh, fact="outbound")
    telemetries = look.istio(TELEMETRY, "Telemetry", mesh, fact="telemetry")
    outbound, outbound_from = in_force.outbound_mode(sidecars, config, namespace, root)
    defaults = config.get("defaultProviders") or {}

    def used(key: str, field_name: str) -> tuple[str, ...]:
        return in_force.telemetry_providers(
            telemetries, tuple(defaults.get(key) or ()), field_name, namespace, root
        )

    logs = used("accessLogging", "accessLogging")
    if not logs and config.get("accessLogFile"):
        logs = (f"accessLogFile {config['accessLogFile']}",)
    return replace(
        mesh,
        mesh_mtls=in_force.mtls_mode(peers, root, root),
        mtls=in_force.mtls_mode(peers, namespace, root),
        outbound=outbound,
        outbound_from=outbound_from,
        providers=_providers(config),
        metrics=used("metrics", "metrics"),
        tracing=used("tracing", "tracing"),
        access_logs=logs,
    )


class _Looking:
    """Reads what this account may read, and notes what it may not."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.unknown: dict[str, str] = {}

    def objects(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        selector: str | None = None,
        fact: str,
    ) -> list[Object]:
        return self._allowed(
            lambda: objects_if_served(self.kube, api_version, kind, namespace, selector=selector), fact, []
        )

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, fact: str
    ) -> Object | None:
        return self._allowed(lambda: self.kube.get(api_version, kind, name, namespace), fact, None)

    def istio(self, group: str, kind: str, mesh: Mesh, *, fact: str) -> list[Object]:
        """Objects of one of Istio's kinds, of the namespace and of the root namespace."""
        version = self._allowed(lambda: served_version(self.kube, group, kind), fact, None)
        if version is None:
            return []
        spaces = dict.fromkeys((mesh.namespace, mesh.root_namespace))
        return [each for space in spaces for each in self.objects(version, kind, space, fact=fact)]

    def everywhere(self, group: str, kind: str, *, fact: str) -> list[Object]:
        """Objects of one of Istio's kinds, of all namespaces."""
        version = self._allowed(lambda: served_version(self.kube, group, kind), fact, None)
        return [] if version is None else self.objects(version, kind, fact=fact)

    def _allowed(self, read: Callable[[], Value], fact: str, otherwise: Value) -> Value:
        try:
            return read()
        except KubeError as problem:
            if problem.status not in FORBIDDEN:
                raise
            self.unknown[fact] = problem.message
            return otherwise


def served_version(kube: Kube, group: str, kind: str) -> str | None:
    """Find the newest version in which the cluster serves one of Istio's kinds.

    Args:
        kube: Client of the cluster.
        group: Of the kind, such as security.istio.io.
        kind: Its name.

    Returns:
        Group and version; None where the kind is not served.

    Raises:
        KubeError: The API server does not answer.
    """
    for version in VERSIONS:
        try:
            kube.resource(f"{group}/{version}", kind)
        except KubeError as problem:
            if problem.status != 404:
                raise
        else:
            return f"{group}/{version}"
    return None


def _serving(
    planes: Sequence[ControlPlane], called: Sequence[tuple[str, str]], labels: Mapping[str, str]
) -> ControlPlane | None:
    """The control plane of a namespace: called by its webhooks, named by its labels, or the only sensible one."""
    for revision, namespace in called:
        for plane in planes:
            if plane.revision == revision and namespace in ("", plane.namespace):
                return plane
    asked = asked_for(labels) or DEFAULT_REVISION
    for plane in planes:
        if asked in plane.tags:
            return plane
    for plane in planes:
        if plane.revision == asked:
            return plane
    return planes[0] if len(planes) == 1 else None


def _config_maps(
    look: _Looking, serving: ControlPlane | None, deployments: Sequence[Object]
) -> tuple[Object, ...]:
    if serving is None:
        return ()
    environment = environment_of(_deployment(deployments, serving))
    names = mesh_config.names_for(serving.revision, environment)
    found = (
        look.get("v1", "ConfigMap", name, serving.namespace, fact="mesh configuration") for name in names
    )
    return tuple(each for each in found if each is not None)


def environment_of(deployment: Object | None) -> dict[str, str]:
    """The plain variables of a Deployment's containers."""
    spec = (((deployment or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    return {
        each["name"]: str(each.get("value") or "")
        for container in spec.get("containers") or []
        for each in container.get("env") or []
    }


def _gateways(deployments: Sequence[Object]) -> tuple[Gateway, ...]:
    found = (each["metadata"] for each in deployments)
    return tuple(
        Gateway(each["name"], each["namespace"], each["labels"]["istio"])
        for each in found
        if each["labels"]["istio"] in (INGRESS, EGRESS)
    )


def _edge(look: _Looking, deployments: Sequence[Object]) -> str:
    """What lets callers in: Istio's gateways, Gateways of Gateway API that Istio serves, both, or none."""
    before = set(look.unknown)
    own = look.everywhere(NETWORKING, "Gateway", fact="edge")
    served = look.objects(GATEWAY_API, "Gateway", fact="edge")
    # Without the classes Istio's own are taken by their names.
    classes = look.objects(GATEWAY_API, "GatewayClass", fact="gateway classes") if served else []
    by_istio = any(each.kind == INGRESS for each in _gateways(deployments)) or any(map(_of_others, own))
    by_gateway_api = any(map(_of_others, outer(served, classes)))
    if by_istio and by_gateway_api:
        return BOTH_EDGES
    if "edge" in set(look.unknown) - before:
        return UNKNOWN
    if by_istio or by_gateway_api:
        return ISTIO_EDGE if by_istio else GATEWAY_API_EDGE
    return NO_EDGE


def _of_others(found: Mapping[str, Any]) -> bool:
    return (found["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER


def _deployment(deployments: Sequence[Object], serving: ControlPlane | None) -> Object | None:
    wanted = serving and (serving.namespace, serving.name)
    return next(
        (each for each in deployments if (each["metadata"]["namespace"], each["metadata"]["name"]) == wanted),
        None,
    )


def _providers(config: Mapping[str, Any]) -> tuple[Provider, ...]:
    named = {each["name"]: each for each in mesh_config.BUILT_IN_PROVIDERS}
    named |= {
        str(each.get("name")): each
        for each in config.get("extensionProviders") or []
        if isinstance(each, Mapping)
    }
    found = []
    for name, each in named.items():
        kind = next((key for key in each if key != "name"), "")
        settings = each.get(kind) or {}
        found.append(Provider(name, kind, str(settings.get("service", "")), int(settings.get("port") or 0)))
    return tuple(found)


def _mode(labels: Mapping[str, str]) -> str:
    # Where both are asked for, the sidecar wins: ztunnel leaves a pod with a sidecar alone.
    if asked_for(labels) is not None:
        return SIDECAR_MODE
    return AMBIENT if labels.get(DATAPLANE_LABEL) == AMBIENT else NO_MODE


def _installer(istiod: Object | None) -> str:
    """Helm notes its release in an annotation; istioctl, and the operator before it, label what they manage."""
    meta = (istiod or {}).get("metadata") or {}
    if "meta.helm.sh/release-name" in (meta.get("annotations") or {}):
        return "helm"
    labels = meta.get("labels") or {}
    return "istioctl" if "operator.istio.io/managed" in labels else UNKNOWN

"""What a run does on a cluster of somebody else, asked of that cluster before anything is touched.

One SelfSubjectAccessReview for each verb, resource and namespace; all that is missing is named at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from meshlab import manifests
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError, Problem
from meshlab.istio.facts import read_facts
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.shared_cluster.lease import places

AT_ONCE = 8


@dataclass(frozen=True)
class Need:
    """Verbs on a resource.

    Attributes:
        verbs: What is asked for, as in a Role.
        group: The API group; "" for core.
        resource: Its plural name; `pods/exec` for a subresource.
        namespace: Where; None for the whole cluster.
        name: Of the one object that is meant; None for all of them.
    """

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        of = f" of {self.name}" if self.name else ""
        return f"{', '.join(self.verbs)} {self.resource}{'.' + self.group if self.group else ''}{of} {where}"


def needs(
    config: LabConfig, *, namespace_there: bool, istio_there: bool, mesh: Mesh | None = None
) -> tuple[Need, ...]:
    """List all that a run with these settings does.

    Scope `mesh` adds the namespaces of the gateways and of what holds for the whole mesh, and Istio itself where none is.

    Args:
        config: The settings of the run.
        namespace_there: The app's namespace exists.
        istio_there: Istio is installed.
        mesh: The facts of the mesh; without them Istio's own names are taken.

    Returns:
        The permissions.
    """
    whole_mesh = config.scope == "mesh"
    by_gateway_api = whole_mesh and config.security.gateway_api
    mesh = mesh or Mesh(config.namespace)
    planes = dict.fromkeys((mesh.system_namespace, *(each.namespace for each in mesh.control_planes)))
    common = dict.fromkeys(
        (mesh.system_namespace, mesh.root_namespace, mesh.ingress_namespace, mesh.egress_namespace)
    )
    places_of: list[tuple[str, str | None]] = [
        ("cluster", None),
        ("namespace-there" if namespace_there else "namespace-missing", None),
        *(("lease", place) for place in places(config)),
        ("app", config.namespace),
        *(("control-plane", plane) for plane in planes),
        ("revisions", None),
        *(("configuration", plane) for plane in planes),
        ("written", config.namespace),
        *([("loaded", config.namespace)] if config.load.asked else []),
        *(("written", place) for place in common if whole_mesh),
        *([("edge", config.namespace), ("edge-keys", mesh.ingress_namespace)] if whole_mesh else []),
        *([("gateway-api", config.namespace), ("gateway-api-definitions", None)] if by_gateway_api else []),
        *([("installed", None)] if whole_mesh and not istio_there else []),
    ]
    return _asked_for(*places_of)


def _asked_for(*parts: tuple[str, str | None]) -> tuple[Need, ...]:
    """The rules of parts of `permissions.yaml`, each in its place, without repetitions."""
    rules = manifests.read("permissions")
    found = (
        Need(
            tuple(rule["verbs"]), rule["apiGroups"][0], resource, place, rule.get("resourceNames", [None])[0]
        )
        for part, place in parts
        for rule in rules[part]
        for resource in rule["resources"]
    )
    return tuple(dict.fromkeys(found))


def missing(kube: Kube, wanted: Iterable[Need]) -> tuple[Need, ...]:
    """Find the permissions that the cluster refuses.

    Args:
        kube: Client of the cluster.
        wanted: What is needed.

    Returns:
        The same needs, with the refused verbs only.

    Raises:
        KubeError: It does not answer.
    """
    # Needs overlap, so each question is asked once: resource → verbs, in the order of the needs.
    verbs: dict[tuple[str, str, str | None, str | None], dict[str, None]] = {}
    for need in wanted:
        key = (need.group, need.resource, need.namespace, need.name)
        verbs.setdefault(key, {}).update(dict.fromkeys(need.verbs))
    asked = [(verb, *key) for key, each in verbs.items() for verb in each]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="access") as pool:
        answers = dict(zip(asked, pool.map(lambda one: kube.may(*one), asked), strict=True))
    refused = {key: tuple(v for v in each if not answers[v, *key]) for key, each in verbs.items()}
    return tuple(Need(lacking, *key) for key, lacking in refused.items() if lacking)


def problems(kube: Kube, config: LabConfig) -> list[Problem]:
    """Name every permission that the run would miss.

    Nothing where the cluster does not answer: its start says that. Credentials are judged by what they may do, not by
    the server's version, which it may tell to anybody.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.

    Returns:
        The problems.
    """
    try:
        there = _allowed(lambda: kube.get("v1", "Namespace", config.namespace) is not None)
        mesh = read_facts(kube, config.namespace)
        found = bool(mesh.control_planes) or "control_planes" in mesh.unknown
        wanted = needs(config, namespace_there=there, istio_there=found, mesh=mesh)
        refused = missing(kube, wanted)
    except KubeError as problem:
        if problem.status == 401:  # a server may tell its version to anybody, and nothing else
            where = f"context {kube.context or 'in use'}"
            return [Problem(where, "the cluster refuses its credentials", problem.remedy)]
        return []
    return [
        Problem(
            f"context {kube.context or 'in use'}",
            f"may not {each}",
            f"grant it with a {'Role' if each.namespace else 'ClusterRole'}: apiGroups [{each.group!r}], "
            f"resources [{each.resource}], verbs [{', '.join(each.verbs)}]"
            + (f", resourceNames [{each.name}]" if each.name else ""),
        )
        for each in refused
    ]


def _allowed(look: Callable[[], bool]) -> bool:
    """What a look gives; True where it is forbidden, so that the review names what is missing and no more."""
    try:
        return look()
    except KubeError as problem:
        if problem.status != 403:
            raise
        return True

"""The configuration of the mesh, as istiod reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import yaml

from meshlab.core.errors import KubeError
from meshlab.istio.names import CONFIG_MAP, of_revision
from meshlab.kube.client import Kube

KEY = "mesh"  # of the ConfigMap
# istiod has these before it reads anything (pkg/config/mesh/mesh.go).
BUILT_IN_PROVIDERS: tuple[Mapping[str, Any], ...] = (
    {"name": "prometheus", "prometheus": {}},
    {"name": "stackdriver", "stackdriver": {}},
    {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}},
)


def root_namespaces(kube: Kube, homes: Set[str]) -> frozenset[str]:
    """Name the namespaces whose policies hold for the whole mesh, of every revision's configuration.

    The control planes' own namespaces are always among them; an account that may not read the configuration is
    told no other.

    Args:
        kube: Client of the cluster.
        homes: Where control planes run.

    Returns:
        The namespaces.

    Raises:
        KubeError: The API server does not answer.
    """
    try:
        maps = [each for home in sorted(homes) for each in kube.objects("v1", "ConfigMap", home)]
    except KubeError as problem:
        if problem.status not in (401, 403):
            raise
        maps = []
    named = (
        parsed(each).get("rootNamespace") for each in maps if each["metadata"]["name"].startswith(CONFIG_MAP)
    )
    return frozenset({*homes, *(str(each) for each in named if each)})


def names_for(revision: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Name the ConfigMaps that a control plane reads, in the order in which it applies them.

    Args:
        revision: The control plane's.
        environment: Of its container: SHARED_MESH_CONFIG names a second one, which comes first.

    Returns:
        The names.
    """
    shared = environment.get("SHARED_MESH_CONFIG", "")
    return tuple(name for name in (shared, of_revision(CONFIG_MAP, revision)) if name)


def parsed(config_map: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parse a ConfigMap's mesh configuration; empty where it has none, or none that istiod could read."""
    text = ((config_map or {}).get("data") or {}).get(KEY, "")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def merged(configs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge mesh configurations as istiod does: a later one replaces whole fields of an earlier one.

    The exceptions: the proxies' and the providers' defaults are merged field by field, the list of providers
    by name, and the aliases of the trust domain are united.
    """
    found: dict[str, Any] = {}
    for each in configs:
        more = dict(each)
        for key in ("defaultConfig", "defaultProviders"):
            if isinstance(more.get(key), Mapping):
                more[key] = {**(found.get(key) or {}), **more[key]}
        if isinstance(more.get("extensionProviders"), list):
            named = {one.get("name"): one for one in found.get("extensionProviders") or []}
            more["extensionProviders"] = list(
                {**named, **{one.get("name"): one for one in more["extensionProviders"]}}.values()
            )
        if more.get("trustDomainAliases"):
            aliases = {*(found.get("trustDomainAliases") or []), *more["trustDomainAliases"]}
            more["trustDomainAliases"] = sorted(map(str, aliases))
        found |= more
    return found

"""Every proxy's state, also where istiod tells istioctl of some proxies only.

istioctl asks with an account of istiod's namespace. istiod tells all only to callers of the mesh's root namespace, which
may be another one (DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES adds more); others are told of the proxies in their own namespace
(pilot/pkg/xds/statusgen.go). Its page /debug/syncz, asked through a port-forward, tells of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.core.errors import MeshlabError
from meshlab.envoy.admin import ISTIOD_PORT, Pages
from meshlab.istio.control_plane import istiod_pods
from meshlab.istio.istioctl import Istioctl, ProxyStatus, short_type
from meshlab.istio.proxies import opened
from meshlab.kube.client import Kube

PAGE = "/debug/syncz"
QUERY = "istio.io/debug"  # type of resource that istioctl asks for


def proxy_states(
    kube: Kube, istioctl: Istioctl, expected: Sequence[str], pages: Pages | None = None
) -> tuple[ProxyStatus, ...]:
    """Ask istioctl for every proxy's state, and istiod itself for those that it is not told of.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        expected: `pod.namespace` of the proxies that must be among them.
        pages: Where istiod's page comes from; port-forwards of its own by default.

    Returns:
        The states, sorted by name; without what neither of the two told.

    Raises:
        IstioError: istioctl fails.
    """
    found = {each.name: each for each in istioctl.proxy_status()}
    if found.keys() >= set(expected):
        return tuple(found.values())
    try:
        with opened(kube, pages) as source:
            for pod in istiod_pods(kube):
                told = source.json(pod.namespace, pod.name, ISTIOD_PORT, PAGE)
                found = {each.name: each for each in map(state_in, filter(is_proxy, told))} | found
    except MeshlabError:  # that page may be off; what istioctl told is judged
        pass
    return tuple(found[name] for name in sorted(found))


def is_proxy(entry: Mapping[str, Any]) -> bool:
    """Tell a proxy from a client that asks istiod for its pages, as istioctl does; that one takes no configuration."""
    return any(not url.startswith(QUERY) for url in entry.get("resources") or {})


def state_in(entry: Mapping[str, Any]) -> ProxyStatus:
    """Read a proxy's entry of istiod's page: what was sent last of each type, and what was acknowledged."""
    types, errors = {}, {}
    for url, each in (entry.get("resources") or {}).items():
        kind, sent = short_type(url), each.get("sent")
        types[kind] = "NOT SENT" if not sent else "SYNCED" if sent == each.get("acked") else "STALE"
        if each.get("lastError"):
            types[kind], errors[kind] = "ERROR", each["lastError"]
    name = str(entry.get("proxy") or "")
    return ProxyStatus(
        name=name,
        namespace=name.rpartition(".")[2],
        version=str(entry.get("istio_version") or "unknown"),
        types=types,
        errors=errors,
    )

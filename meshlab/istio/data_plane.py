"""How sidecars come into pods: native or not, by Istio's CNI or an init container; and ztunnel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
NATIVE, CONTAINER, UNKNOWN = "native", "container", "unknown"
INIT, CNI = "init container", "cni"
PROXY, INIT_CONTAINER, VALIDATION = "istio-proxy", "istio-init", "istio-validation"
NATIVE_FROM = (1, 33)  # Kubernetes: istiod's own choice (pkg/kube/inject/webhook.go), if no node is older
AUTO_FROM = (1, 27)  # Istio: ENABLE_NATIVE_SIDECARS is "auto" unless set
DOMAIN_OPTION = "--domain"  # of pilot-agent (NAMESPACE.svc.DOMAIN) and of istiod (DOMAIN)


def sidecars_of(pods: Sequence[Object]) -> str:
    """Tell whether the sidecars of some pods are native; unknown where no pod has one."""
    for pod in pods:
        if _named(pod, "initContainers", PROXY):
            return NATIVE
        if _named(pod, "containers", PROXY):
            return CONTAINER
    return UNKNOWN


def sidecars_to_come(environment: Mapping[str, str], version: str, nodes: Sequence[Object]) -> str:
    """Tell which sidecars a control plane will give to pods.

    Args:
        environment: Of the control plane's container: ENABLE_NATIVE_SIDECARS.
        version: The control plane's, which tells the default; empty where it is not known.
        nodes: Of the cluster: where istiod decides by itself, their kubelets' versions count.

    Returns:
        `native`, `container` or `unknown`.
    """
    number = re.match(r"v?(\d+)\.(\d+)", version)
    by_itself = "auto" if number and (int(number[1]), int(number[2])) >= AUTO_FROM else "false"
    wish = environment.get("ENABLE_NATIVE_SIDECARS") or (by_itself if number else "")
    kubelets = [_kubelet(node) for node in nodes]
    if wish == "auto" and kubelets and None not in kubelets:
        wish = str(all(each >= NATIVE_FROM for each in kubelets if each)).lower()
    return {"true": NATIVE, "false": CONTAINER}.get(wish, UNKNOWN)


def capture_of(pods: Sequence[Object], injector: Object | None) -> str:
    """Tell how a pod's traffic is led to its sidecar.

    Args:
        pods: Of the namespace; one with a sidecar tells it.
        injector: The ConfigMap with which istiod injects.

    Returns:
        `init container`, `cni` or `unknown`.
    """
    for pod in pods:
        if _named(pod, "initContainers", VALIDATION):
            return CNI
        if _named(pod, "initContainers", INIT_CONTAINER):
            return INIT
    values = _values(injector)
    if not values:
        return UNKNOWN
    return CNI if ((values.get("pilot") or {}).get("cni") or {}).get("enabled") else INIT


def has_ztunnel(daemon_sets: Iterable[Object]) -> bool:
    """Tell whether ztunnel is among some DaemonSets."""
    return any(
        "ztunnel" in (labels.get("app.kubernetes.io/name"), labels.get("app"))
        for each in daemon_sets
        for labels in [each["metadata"].get("labels") or {}]
    )


def cluster_domain_of(pods: Sequence[Object], istiod: Object | None, injector: Object | None) -> str | None:
    """Tell the domain with which the names of services end.

    Args:
        pods: Of the namespace: a proxy's own option tells it.
        istiod: The control plane's Deployment, whose option tells it next.
        injector: The ConfigMap with which istiod injects, which tells it last.

    Returns:
        The domain; None where none of them tells it.
    """
    proxies = (c for pod in pods for c in _containers({"spec": {"template": pod}}) if c.get("name") == PROXY)
    for option in (_option(each) for each in proxies):
        if option and ".svc." in option:
            return option.partition(".svc.")[2]
    for option in (_option(each) for each in _containers(istiod or {})):
        if option:
            return option
    proxy = (_values(injector).get("global") or {}).get("proxy") or {}
    return str(proxy["clusterDomain"]) if proxy.get("clusterDomain") else None


def _option(container: Mapping[str, Any]) -> str | None:
    args = [str(each) for each in container.get("args") or []]
    for at, each in enumerate(args):
        if each == DOMAIN_OPTION and at + 1 < len(args):
            return args[at + 1]
        if each.startswith(f"{DOMAIN_OPTION}="):
            return each.partition("=")[2]
    return None


def _containers(owner: Object) -> list[Mapping[str, Any]]:
    spec = ((owner.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _named(pod: Object, where: str, name: str) -> bool:
    return any(each.get("name") == name for each in (pod.get("spec") or {}).get(where) or [])


def _values(injector: Object | None) -> dict[str, Any]:
    try:
        found = json.loads(((injector or {}).get("data") or {}).get("values", ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _kubelet(node: Object) -> tuple[int, int] | None:
    version = ((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "")
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None

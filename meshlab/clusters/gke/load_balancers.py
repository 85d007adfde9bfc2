"""What a cluster makes in the cloud that is paid for and does not go with it: load balancers and disks of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.core.errors import WaitTimeout
from meshlab.core.progress import Progress, Update
from meshlab.core.waiting import Clock, wait
from meshlab.kube.client import Kube

GONE_WITHIN = 180.0  # seconds; GKE takes about a minute for a load balancer


@dataclass(frozen=True)
class Balancer:
    """A Service of type LoadBalancer. address: empty until the cloud has given one."""

    uid: str
    name: str
    address: str


def balancers(kube: Kube) -> list[Balancer]:
    """Every Service of type LoadBalancer. Raises KubeError."""
    return [
        Balancer(each["metadata"]["uid"], _named(each), _address(each))
        for each in kube.objects("v1", "Service")
        if each["spec"].get("type") == "LoadBalancer"
    ]


def remove_billed(
    kube: Kube, *, progress: Progress, timeout: float = GONE_WITHIN, clock: Clock | None = None
) -> list[str]:
    """Delete the Services of type LoadBalancer and the volumes, and wait for the cloud to take back what they had.

    The cloud's controller works in the cluster: after the cluster nobody would. A claim goes only when no pod uses it,
    so those pods go too. Returns what was still there after `timeout` seconds: the teardown goes on, its last listing
    tells what remains. Raises KubeError.
    """
    for service in _of_type(kube.objects("v1", "Service")):
        progress(Update("remove load balancers", detail=_named(service)))
        kube.delete(
            "v1", "Service", service["metadata"]["name"], service["metadata"]["namespace"], foreground=False
        )
    claims = kube.objects("v1", "PersistentVolumeClaim")
    for claim in claims:
        progress(Update("remove volumes", detail=_named(claim)))
        kube.delete(
            "v1",
            "PersistentVolumeClaim",
            claim["metadata"]["name"],
            claim["metadata"]["namespace"],
            foreground=False,
        )
    _evict(kube, claims)

    def left() -> list[str]:
        services = [f"Service {_named(each)}" for each in _of_type(kube.objects("v1", "Service"))]
        volumes = [
            f"PersistentVolume {each['metadata']['name']}"
            for each in kube.objects("v1", "PersistentVolume")
            if each["spec"].get("persistentVolumeReclaimPolicy", "Delete") == "Delete"
            and each["spec"].get("claimRef")
        ]
        return services + volumes

    try:
        return wait(
            "load balancers and volumes to go",
            left,
            ready=lambda names: not names,
            describe=lambda names: ", ".join(names) or "none left",
            timeout=timeout,
            delay=1.0,
            clock=clock,
            on_change=lambda text: progress(Update("remove load balancers and volumes", detail=text)),
        )
    except WaitTimeout:
        return left()


def _evict(kube: Kube, claims: Sequence[dict[str, Any]]) -> None:
    """Delete the pods that use one of the claims."""
    wanted = {(claim["metadata"]["namespace"], claim["metadata"]["name"]) for claim in claims}
    for pod in kube.objects("v1", "Pod") if wanted else []:
        space = pod["metadata"]["namespace"]
        used = {
            (space, volume["persistentVolumeClaim"]["claimName"])
            for volume in pod["spec"].get("volumes") or []
            if "persistentVolumeClaim" in volume
        }
        if used & wanted:
            kube.delete("v1", "Pod", pod["metadata"]["name"], space, foreground=False)


def _of_type(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in services if each["spec"].get("type") == "LoadBalancer"]


def _address(service: dict[str, Any]) -> str:
    given = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return given[0].get("ip") or given[0].get("hostname") or ""


def _named(document: dict[str, Any]) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"

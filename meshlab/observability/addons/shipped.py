"""What the addons that Istio ships have in common: whose they are, whether their images can be had, readiness.

Grafana, Jaeger and Kiali each stand in istio-system as one Deployment that is called like the addon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.core.progress import Progress
from meshlab.istio.images import containers
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.kube.apply import ObjectRef, apply
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward
from meshlab.kube.rollout import wait_deployments


def is_theirs(config: LabConfig, kube: Kube, name: str) -> bool:
    """Whether a cluster that is not ours has the addon: it is used as it is, and nothing is applied."""
    return not config.ours and runs(kube, name)


def runs(kube: Kube, name: str) -> bool:
    """Whether the addon's Deployment is there, whoever made it."""
    return kube.get("apps/v1", "Deployment", name, SYSTEM_NAMESPACE) is not None


def need_scope(config: LabConfig, title: str) -> None:
    """Raises KubeError where the run may not write to istio-system: only the scope `mesh` may."""
    if config.scope != "mesh":
        raise KubeError(
            f"there is no {title} in {SYSTEM_NAMESPACE}, and the run may not put one there",
            remedy=f"install Istio's {title} addon, or allow changes: --allow-changes",
        )


def why_not(
    config: LabConfig,
    kube: Kube,
    name: str,
    documents: Iterable[Mapping[str, Any]],
    held: Sequence[str] = (),
) -> str:
    """Why an addon of which this project makes no image can't run here; "" where it can, or runs already.

    held: references of images that the cluster was given, beside those that its nodes report (late).
    """
    if is_theirs(config, kube, name):
        return ""
    title = name.capitalize()
    if config.scope != "mesh":
        return (
            f"there is no {title} in {SYSTEM_NAMESPACE}, and the run may not put one there (--allow-changes)"
        )
    if config.image_source == "official":
        return ""
    known = {*held, *_reported(kube)}
    missing = [image for image in images(documents) if not any(same(image, each) for each in known)]
    if not missing:
        return ""
    return f"there is no registry, and no image archive holds {', '.join(missing)} (local.image_archives)"


def images(documents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The images that an addon needs, as its manifest names them."""
    return tuple(each["image"] for document in documents for each in containers(document))


def same(one: str, other: str) -> bool:
    """Whether two references mean one image: the registry may be left out, and a digest added."""
    a, b = one.partition("@")[0], other.partition("@")[0]
    return a == b or a.endswith(f"/{b}") or b.endswith(f"/{a}")


def put(kube: Kube, name: str, documents: Sequence[Mapping[str, Any]]) -> tuple[ObjectRef, ...]:
    """Apply the addon's objects; returns them. Raises KubeError.

    A manifest that names no number of replicas leaves one that somebody has scaled to 0 there, and a Deployment
    that wants no pod counts as rolled out: it gets its one pod back.
    """
    refs = apply(kube, documents)
    found = kube.get("apps/v1", "Deployment", name, SYSTEM_NAMESPACE)
    if found is not None and found["spec"].get("replicas") == 0:
        kube.patch("apps/v1", "Deployment", name, {"spec": {"replicas": 1}}, SYSTEM_NAMESPACE)
    return refs


def wait_ready(config: LabConfig, kube: Kube, name: str, progress: Progress) -> None:
    """Wait until the addon is Ready. Raises RolloutError with the cause, KubeError."""
    wait_deployments(kube, SYSTEM_NAMESPACE, [name], timeout=config.app.rollout_timeout, progress=progress)


def why_unreachable(forward: PortForward) -> str:
    """Why a port-forward leads nowhere, for the errors of the client behind it; "" where nothing is known."""
    return forward.last_error.message if forward.last_error else ""


def _reported(kube: Kube) -> set[str]:
    return {
        name
        for node in kube.objects("v1", "Node")
        for image in node.get("status", {}).get("images") or []
        for name in image.get("names") or []
    }

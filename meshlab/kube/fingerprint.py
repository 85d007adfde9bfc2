"""What a fault may have changed, as a digest per object: the same before it was planted and after it is gone."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube

NETWORKING = "networking.istio.io/v1"
KINDS: tuple[tuple[str, str], ...] = (
    *((NETWORKING, kind) for kind in ("VirtualService", "DestinationRule", "Gateway", "ServiceEntry")),
    *((NETWORKING, kind) for kind in ("Sidecar", "WorkloadEntry", "WorkloadGroup")),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    *(("security.istio.io/v1", kind) for kind in ("PeerAuthentication", "RequestAuthentication")),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Namespace"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
PODS = "Pods of"
# Set by controllers, and different after each roll-out.
VOLATILE = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/restartedAt")
HASHES = ("pod-template-hash",)
ELECTION = "control-plane.alpha.kubernetes.io/leader"  # istiod's leases, which move by themselves


def take(kube: Kube, *, only_readable: bool = False) -> dict[str, str]:
    """Digest all that was asked of each object, in every namespace; of pods their labels and annotations.

    Status, identities and versions of objects are left out. Kinds that the cluster does not have are passed over.

    Args:
        kube: Client of the cluster.
        only_readable: Read no Secrets, and pass over what may not be listed.

    Returns:
        Object → digest.

    Raises:
        KubeError: The cluster does not answer.
    """
    passed_over = (404, 401, 403) if only_readable else (404,)

    def objects(api_version: str, kind: str) -> Sequence[dict[str, Any]]:
        if only_readable and kind == "Secret":
            return ()
        try:
            return kube.objects(api_version, kind)
        except KubeError as problem:
            if problem.status in passed_over:
                return ()
            raise

    found: dict[str, str] = {}
    for api_version, kind in KINDS:
        for each in objects(api_version, kind):
            meta = each["metadata"]
            if ELECTION in (meta.get("annotations") or {}):
                continue
            content = {key: value for key, value in each.items() if key not in ("metadata", "status")}
            name = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]
            found[f"{kind} {name}"] = _digest({**content, **_marks(meta)})
    groups: dict[str, list[str]] = defaultdict(list)
    for pod in objects("v1", "Pod"):
        meta = pod["metadata"]
        if "deletionTimestamp" not in meta:
            owner = str(meta.get("generateName") or meta["name"]).rstrip("-")
            owner = owner.removesuffix(str((meta.get("labels") or {}).get(HASHES[0]))).rstrip("-")
            groups[f"{PODS} {meta['namespace']}/{owner}"].append(_digest(_marks(meta)))
    found.update({name: " ".join(sorted(digests)) for name, digests in groups.items()})
    return found


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Say what appeared, is gone or is not as it was.

    Args:
        before: Object → digest.
        after: Object → digest.

    Returns:
        A line for each object.
    """
    return tuple(
        [f"{name} was not there before" for name in sorted(after.keys() - before.keys())]
        + [f"{name} is gone" for name in sorted(before.keys() - after.keys())]
        + [
            f"{name} is not as it was"
            for name in sorted(before)
            if after.get(name, before[name]) != before[name]
        ]
    )


def _marks(meta: Mapping[str, Any]) -> dict[str, Any]:
    def kept(name: str) -> dict[str, Any]:
        return {k: v for k, v in (meta.get(name) or {}).items() if k not in (*VOLATILE, *HASHES)}

    return {"labels": kept("labels"), "annotations": kept("annotations")}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

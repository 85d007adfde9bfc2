"""Plaintext that a mesh denies whatever mutual TLS says: by a DENY policy, which no policy of ours can override."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from meshlab.app.once import RoundResult
from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.changes import MANAGED_BY, MANAGER
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.security.authorization.cluster import read_mesh, served_api
from meshlab.security.authorization.evaluate import decide_all
from meshlab.security.authorization.model import Outcome, Request, Workload

POLICY = "AuthorizationPolicy"
FORBIDDEN = "403"  # with which a proxy answers what its policies refuse


def all_forbidden(asked: RoundResult) -> bool:
    """Whether each request was answered, and refused.

    Args:
        asked: What came of them.

    Returns:
        True where there was a 403 for each.
    """
    return 0 < asked.sent == asked.by_status.get(FORBIDDEN, 0)


def denying(
    kube: Kube, facts: Facts, caller: str, asked: Mapping[str, tuple[str, Sequence[PodSummary]]]
) -> dict[str, str]:
    """Name the DENY policies of others that refuse plaintext GETs.

    A policy of this run, a planted fault, say, is none of others; nor does a request that no ALLOW policy names count:
    the run allows its own.

    Args:
        kube: Client of the cluster.
        facts: Of the mesh.
        caller: Address of the pod that asks.
        asked: Name of a path → the URL, and the pods that may answer.

    Returns:
        Name of the path → `namespace/name` of the policy; without those where there is none, or where it can't be told.

    Raises:
        KubeError: The policies may not be read.
    """
    api = served_api(kube)
    mesh, now = read_mesh(kube, api, facts), time.time()
    decisions = {
        path: decide_all(
            mesh, [Workload(pod.namespace, pod.labels) for pod in pods], _request(url, caller, pods), now=now
        )
        for path, (url, pods) in asked.items()
    }
    found = {path: each.policy for path, each in decisions.items() if each.outcome is Outcome.DENY}
    others = {policy for policy in set(found.values()) if policy and not _is_own(kube, api, policy)}
    return {path: policy for path, policy in found.items() if policy in others}


def _request(url: str, caller: str, pods: Sequence[PodSummary]) -> Request:
    parts = urlsplit(url)
    return Request(
        "GET",
        parts.path,
        parts.netloc,
        parts.port or 80,
        source_ip=caller or None,
        remote_ip=caller or None,
        destination_ip=pods[0].ip if len(pods) == 1 else None,
        sni="",
    )


def _is_own(kube: Kube, api: str, policy: str) -> bool:
    namespace, _, name = policy.partition("/")
    found = kube.get(api, POLICY, name, namespace) or {"metadata": {}}
    return (found["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER

"""The pods of a run, as far as it can be told before the cluster is touched: how many, and which get a sidecar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshlab.app.bookinfo import SLEEPER, WORKLOADS
from meshlab.app.deployment import fitted
from meshlab.app.paths import OUTSIDE
from meshlab.app.traffic_clients import CALLER, TCP_ECHO
from meshlab.config.settings import LabConfig

# At one time: the application with its clients, and a pair of pods that a stage brings and takes away again.
MESHED: tuple[str, ...] = (
    *(each.name for each in WORKLOADS),
    TCP_ECHO.name,
    "a stage's first",
    "a stage's second",
)
PLAIN: tuple[str, ...] = (CALLER.name, OUTSIDE.name)
SAMPLE = "meshlab-preflight"
CURL = "curlimages/curl:8.16.0"
# As every pod of the run has: rules against bare pods ask for an owner, and the API server does not look for it.
OWNER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": SAMPLE,
    "uid": "00000000-0000-0000-0000-000000000000",
    "controller": True,
}


def sample_pod(
    config: LabConfig, labels: Sequence[tuple[str, str]] = (), *, restricted: bool = False
) -> dict[str, Any]:
    """Make a pod as the run's own are, to ask the cluster about; it is never started.

    Args:
        config: The settings of the run.
        labels: Those that ask for a sidecar where the namespace does not ask yet.
        restricted: The namespace takes pods of the Pod Security Standard `restricted` only.

    Returns:
        The Pod.
    """
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": SAMPLE,
            "namespace": config.namespace,
            "labels": {"app": SLEEPER.app, **dict(labels)},
            "ownerReferences": [dict(OWNER)],
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [{"name": "curl", "image": CURL, "command": ["/bin/sleep", "infinity"]}],
        },
    }
    [fits] = fitted(config, [pod], restricted=restricted)
    return fits

"""Faults of the lab's own removal: something of Istio's that stays, and something of the cluster's."""

from __future__ import annotations

from meshlab.core.errors import ClusterError
from meshlab.faults.fault import Fault, Site
from meshlab.kube.apply import ObjectRef
from meshlab.security.audit.certificates import ROOT_CERTIFICATE

FINALIZER = "meshlab/sabotage"  # whose controller would take it away; there is none


def finalizer_left(site: Site) -> None:
    """The ConfigMap that istiod writes into the app's namespace gets a finalizer that nobody takes away."""
    ref = ObjectRef("v1", "ConfigMap", site.namespace, ROOT_CERTIFICATE)
    site.changes.patch(ref, {"metadata": {"finalizers": [FINALIZER]}})


def mount_in_use(site: Site) -> None:
    """A file system is mounted below the cluster's folder, and a file in it is open."""
    if site.mount is None:
        raise ClusterError("this cluster has no folder here", remedy="plant it on the local cluster")
    site.mount.occupy()


REMOVAL: tuple[Fault, ...] = (
    Fault(
        "finalizer-without-controller",
        "A ConfigMap of Istio's has a finalizer that nobody takes away",
        must=("uninstall.nothing-left",),
        groups=("uninstall",),
        plant=finalizer_left,
        scope="mesh",
        last=True,
    ),
    Fault(
        "mount-in-use",
        "A file system below the cluster's folder is in use",
        must=("teardown.nothing-left",),
        groups=("teardown",),
        plant=mount_in_use,
        local=True,
        scope="mesh",
        last=True,
    ),
)

"""What Istio calls things where nobody chose another name.

Nothing else may assume these: what a mesh is really called is a fact of it (`meshlab.istio.mesh`).
"""

from __future__ import annotations

SYSTEM_NAMESPACE = "istio-system"  # where Istio is installed
ADDONS_NAMESPACE = "istio-system"  # where the manifests of Istio's samples put the addons, whatever the mesh
CLUSTER_DOMAIN = "cluster.local"  # of Kubernetes, and of istiod without --domain
TRUST_DOMAIN = "cluster.local"  # of a mesh configuration that names none
TRUST_POINTER = "cluster.local"  # in a policy: the trust domain of the mesh itself, whatever it is
ISTIOD = "istiod"  # Deployment, Service and account of the revision `default`; others add -REVISION
ISTIOD_SELECTOR = "app=istiod"  # on the Deployments and pods of every revision
CONFIG_MAP = "istio"  # the mesh's configuration for the revision `default`; others add -REVISION
INJECTOR_CONFIG_MAP = "istio-sidecar-injector"  # what istiod injects with; other revisions add -REVISION
DEFAULT_REVISION = "default"


def of_revision(name: str, revision: str) -> str:
    """Give the name that a revision's own object has.

    Args:
        name: What the object of the revision `default` is called.
        revision: The revision.

    Returns:
        The name.
    """
    return name if revision in ("", DEFAULT_REVISION) else f"{name}-{revision}"

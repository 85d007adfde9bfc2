"""What a run has changed on a cluster that is not ours: the same inventory before it and after it.

Every object by a digest of what is asked of it (see `meshlab.kube.fingerprint`); Secrets are not read. On a
cluster that others work on they change things too: what is outside of the app's namespace is named, and not judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from meshlab.kube import fingerprint
from meshlab.kube.client import Kube
from meshlab.shared_cluster.lease import made_by

FILE = "inventory-before.json"


def footprint(kube: Kube) -> dict[str, str]:
    """Object → digest, of all that may be read. Raises KubeError."""
    return fingerprint.take(kube, only_readable=True)


def footprint_before(kube: Kube, namespace: str, run_id: str) -> dict[str, str]:
    """Take the inventory before a run.

    The app's namespace is left out where the run has made it, for its Lease.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.
        run_id: The run.

    Returns:
        Object → digest.
    """
    made = made_by(kube.get("v1", "Namespace", namespace), run_id)
    return {
        name: digest
        for name, digest in footprint(kube).items()
        if not (made and concerns(f"{name} ", namespace))
    }


def keep_footprint(directory: Path, found: Mapping[str, str]) -> None:
    """Write the inventory down for the end of the run.

    Args:
        directory: The run's directory.
        found: Object → digest.
    """
    (directory / FILE).write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")


def changes(directory: Path, kube: Kube) -> tuple[int, tuple[str, ...]] | None:
    """Compare the inventory that was kept with the cluster as it is now.

    Args:
        directory: Where `keep_footprint` wrote the inventory from before the run.
        kube: The cluster.

    Returns:
        How many objects were kept, and a line for each that differs; None where no inventory was kept.

    Raises:
        KubeError: The cluster could not be read.
    """
    path = directory / FILE
    if not path.exists():
        return None
    before: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return len(before), fingerprint.difference(before, footprint(kube))


def concerns(line: str, namespace: str) -> bool:
    """Tell whether a line of a difference is about a namespace, or an object in it.

    Args:
        line: The line.
        namespace: The namespace.

    Returns:
        True where it is.
    """
    return line.startswith(f"Namespace {namespace} ") or f" {namespace}/" in line

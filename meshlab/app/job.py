"""A Job whose pod gets a sidecar: it asks for the product page once, and ends."""

from __future__ import annotations

from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import PAGE_PATH, PRODUCTPAGE
from meshlab.core.address import host_port

JOB = "meshlab-job"
GO = "&& curl -fsS -X POST http://127.0.0.1:15020/quitquitquit"  # what tells a sidecar's agent to end


def job_with_sidecar(namespace: str, *, native: bool) -> dict[str, Any]:
    """Make the Job.

    Args:
        namespace: Of the application.
        native: Sidecars are native ones, which end with the pod; others are told by the Job's program.

    Returns:
        The object, with an official image.
    """
    url = f"http://{host_port(PRODUCTPAGE.app, PRODUCTPAGE.port)}{PAGE_PATH}"
    found: dict[str, Any] = manifests.read(
        "job-with-sidecar", NAMESPACE=namespace, URL=url, BYE="" if native else GO
    )
    return found

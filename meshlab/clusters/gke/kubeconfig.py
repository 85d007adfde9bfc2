"""The kubeconfig of a GKE cluster: mode 0600, without any secret, its token from our own exec plugin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.access import token_uri
from meshlab.clusters.gke.credential import API_VERSION
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import CloudError
from meshlab.core.files import write_atomically

ROOT = Path(__file__).parents[3]  # where the package lies, for the plugin, which may be started from anywhere


def write(cluster: Cluster, settings: GkeSettings, path: Path) -> Path:
    """Write it, in a folder that only its owner may enter. Raises CloudError for an endpoint that is not there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = context_of(settings)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": endpoint_of(cluster, settings)}],
        "users": [{"name": name, "user": {"exec": plugin(settings)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_atomically(path, yaml.safe_dump(content), mode=0o600, durable=True)
    return path


def context_of(settings: GkeSettings) -> str:
    """The context's name, as `gcloud container clusters get-credentials` chooses it."""
    return f"gke_{settings.project}_{settings.zone}_{settings.name}"


def endpoint_of(cluster: Cluster, settings: GkeSettings) -> dict[str, str]:
    """The kubeconfig's entry for the endpoint that the settings ask for."""
    if settings.access == "dns":
        dns = cluster.control_plane_endpoints_config.dns_endpoint_config
        if not dns.endpoint or not dns.allow_external_traffic:
            raise _missing("DNS endpoint that takes external traffic", cluster)
        return {"server": f"https://{dns.endpoint}"}  # its certificate is a public one
    private = cluster.private_cluster_config.private_endpoint
    address = private if settings.access == "private" else cluster.endpoint
    if not address:
        raise _missing(f"{settings.access} endpoint", cluster)
    return {
        "server": f"https://{address}",
        "certificate-authority-data": cluster.master_auth.cluster_ca_certificate,
    }


def plugin(settings: GkeSettings) -> dict[str, Any]:
    """How clients get a token: our module, run by this Python."""
    uri = token_uri(settings)
    return {
        "apiVersion": API_VERSION,
        "interactiveMode": "Never",
        "command": sys.executable,
        "args": ["-m", "meshlab.clusters.gke.credential", *(["--token-uri", uri] if uri else [])],
        "env": [{"name": "PYTHONPATH", "value": str(ROOT)}],
        "provideClusterInfo": False,
    }


def _missing(what: str, cluster: Cluster) -> CloudError:
    return CloudError(
        f"cluster {cluster.name} has no {what}",
        kind="precondition",
        remedy="ask for another one: --set gke.access=public, private or dns",
    )

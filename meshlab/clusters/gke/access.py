"""Who we are to Google, and how a cluster of ours is reached: credentials, endpoints, the kubeconfig."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.api_core.client_options import ClientOptions
from google.auth.transport.requests import AuthorizedSession
from google.cloud.container_v1 import ClusterManagerClient
from google.cloud.container_v1.services.cluster_manager.transports import ClusterManagerGrpcTransport
from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.credential import API_VERSION, credentials_of, refreshed
from meshlab.config.settings import GkeSettings
from meshlab.core.address import host_port
from meshlab.core.errors import CloudError, Problem
from meshlab.core.files import write_atomically

ROOT = Path(__file__).parents[3]  # where the package lies, for the plugin, which may be started from anywhere


def endpoint_problems(settings: GkeSettings) -> list[Problem]:
    """An endpoint without TLS is accepted on the loopback only: requests carry credentials."""
    found = []
    for name in ("api_endpoint", "compute_endpoint"):
        value = getattr(settings, name)
        if value is not None and value.startswith("http://") and not is_loopback(value):
            what = f"{value} would send credentials without TLS, which only the loopback may get"
            found.append(
                Problem(f"--set gke.{name}", what, "give HOST:PORT of a server with TLS, or 127.0.0.1:PORT")
            )
    if settings.compute_endpoint is not None and settings.api_endpoint is None:
        what = "goes with gke.api_endpoint only"
        found.append(Problem("--set gke.compute_endpoint", what, "give both, or none for Google's own"))
    return found


def is_loopback(endpoint: str) -> bool:
    """Whether HOST:PORT is on this machine's loopback."""
    host = endpoint.removeprefix("http://").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_emulated(settings: GkeSettings) -> bool:
    """Whether the API is a stand-in on this machine: no TLS, and credentials of its own."""
    return settings.api_endpoint is not None and is_loopback(settings.api_endpoint)


def rest_endpoint(settings: GkeSettings) -> str | None:
    """HOST:PORT of the REST APIs where they are not Google's: as set, or the port after the API's."""
    given = settings.compute_endpoint
    if given is None and settings.api_endpoint is not None:
        host, _, port = settings.api_endpoint.removeprefix("http://").rpartition(":")
        given = host_port(host.strip("[]"), int(port) + 1)
    return given.removeprefix("http://") if given else None


def token_uri(settings: GkeSettings) -> str | None:
    """Where an emulated API gives tokens; None for application-default credentials."""
    return f"http://{rest_endpoint(settings)}/token" if is_emulated(settings) else None


def connect(settings: GkeSettings) -> tuple[ClusterManagerClient, Callable[[], object]]:
    """The one seam to the GKE API: a client, and what gets its token anew. Raises CloudError where there are no credentials."""
    if is_emulated(settings):
        # With anonymous credentials and an api_endpoint the library would insist on TLS; a channel is taken as it is.
        assert settings.api_endpoint is not None
        channel = grpc.insecure_channel(settings.api_endpoint.removeprefix("http://"))
        return ClusterManagerClient(transport=ClusterManagerGrpcTransport(channel=channel)), lambda: None
    options = ClientOptions(api_endpoint=settings.api_endpoint) if settings.api_endpoint else None
    credentials = credentials_of(None)
    client = ClusterManagerClient(credentials=credentials, client_options=options)
    return client, lambda: refreshed(credentials)


def session(settings: GkeSettings) -> tuple[Any, str]:
    """The one seam to the REST APIs: a session, and the pattern of their addresses with `{service}` in it.

    Raises CloudError where there are no credentials.
    """
    credentials = credentials_of(token_uri(settings))
    made = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # google-auth has no types
    given = rest_endpoint(settings)
    if given is not None:
        scheme = "http" if is_emulated(settings) else "https"
        return made, f"{scheme}://{given}"
    return made, f"https://{{service}}.{credentials.universe_domain}"


def write_kubeconfig(cluster: Cluster, settings: GkeSettings, path: Path) -> Path:
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

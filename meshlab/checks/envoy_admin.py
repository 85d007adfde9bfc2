"""Envoy's dashboard: the admin pages of a sidecar, read through a port-forward and kept as evidence.

Shapes of the answers: envoy/admin/v3 (server_info, clusters, listeners, certs) of Envoy's API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from meshlab.checks.base import judged
from meshlab.envoy.admin import Endpoint, PodPages, read_address, read_clusters, reading, service_of
from meshlab.kube.client import Kube
from meshlab.run.results import CheckResult

# Page of the dashboard → file that keeps it.
PAGES: Mapping[str, str] = {
    "/": "envoy-dashboard.html",
    "/server_info": "envoy-server-info.json",
    "/clusters?format=json": "envoy-clusters.json",
    "/listeners?format=json": "envoy-listeners.json",
    "/certs": "envoy-certificates.json",
}
CAPTURED = {15001: "outbound", 15006: "inbound"}  # listeners to which a sidecar's traffic is redirected
LIVE = "LIVE"


@dataclass(frozen=True)
class Certificate:
    """A certificate that the proxy shows to its peers. identities: its URI names. Times with their zone."""

    serial: str
    identities: tuple[str, ...]
    valid_from: datetime
    expires: datetime


@dataclass(frozen=True)
class Dashboard:
    """What the admin pages tell.

    clusters: name → endpoints. listeners: name → address. files: name → text, to be kept as evidence.
    """

    pod: str
    version: str
    state: str
    uptime: str
    clusters: Mapping[str, Sequence[Endpoint]]
    listeners: Mapping[str, str]
    certificates: tuple[Certificate, ...]
    files: Mapping[str, str]


def read_dashboard(kube: Kube, namespace: str, pod: str) -> Dashboard:
    """Get the admin pages of a pod's sidecar.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.
        pod: Its name.

    Returns:
        The pages.

    Raises:
        QueryError: A page does not answer.
        KubeError: The API server does not reach the pod.
    """
    with PodPages(kube) as pages:
        return parse_dashboard(pod, {page: pages.of(namespace, pod).text(page) for page in PAGES})


def parse_dashboard(pod: str, pages: Mapping[str, str]) -> Dashboard:
    """The values in the pages of PAGES (page → text). Raises QueryError for one that is none of Envoy's."""
    documents = {}
    for page, text in pages.items():
        with reading(page):
            documents[page] = json.loads(text) if page != "/" else {}
    with reading("/server_info"):
        info = documents["/server_info"]
        state, version = info["state"], info["version"]
        uptime = info["uptime_current_epoch"]
    clusters = read_clusters(documents["/clusters?format=json"])
    with reading("/listeners"):
        statuses = documents["/listeners?format=json"]["listener_statuses"]
        listeners = {each["name"]: read_address(each["local_address"]) for each in statuses}
    with reading("/certs"):
        chains = [chain for each in documents["/certs"]["certificates"] for chain in each["cert_chain"]]
        certificates = {each["serial_number"]: _certificate(each) for each in chains}
    return Dashboard(
        pod,
        version,
        state,
        uptime,
        dict(sorted(clusters.items())),
        dict(sorted(listeners.items())),
        tuple(certificates.values()),
        {PAGES[page]: text for page, text in pages.items()},
    )


def dashboard(
    found: Dashboard, *, principal: str, upstreams: Sequence[str] = (), now: datetime | None = None
) -> CheckResult:
    """Judge a sidecar's admin pages: live, traffic captured, upstreams known, its own identity valid.

    Evidence: `server`, tables `clusters`, `listeners` and `certificates`, `files` (names of the raw pages).

    Args:
        found: The pages.
        principal: The SPIFFE identity that its certificate must carry.
        upstreams: Hosts of services that it must know with an endpoint that may get requests.
        now: None for the present.

    Returns:
        The check.
    """
    now = now or datetime.now(UTC)
    problems = []
    if found.state != LIVE:
        problems.append(f"{found.pod}'s Envoy is {found.state or 'in no state'}, not {LIVE}")
    if "<html" not in found.files[PAGES["/"]].lower() and "<head" not in found.files[PAGES["/"]].lower():
        problems.append(f"{found.pod}'s Envoy shows no page at /")
    ports = {address.rpartition(":")[2] for address in found.listeners.values()}
    problems += [
        f"no listener on port {port}: {way} traffic is not captured"
        for port, way in CAPTURED.items()
        if str(port) not in ports
    ]
    for host in upstreams:
        mine = [hosts for name, hosts in found.clusters.items() if service_of(name) == host]
        if not mine:
            problems.append(f"no cluster leads to {host}")
        elif not any(each.healthy for hosts in mine for each in hosts):
            problems.append(f"{host} has no endpoint that may get requests")
    problems += _certificate_problems(found.certificates, principal, now)
    own = [each for each in found.certificates if principal in each.identities]
    expires = max((each.expires for each in own), default=None)
    return judged(
        "envoy.dashboard",
        problems,
        f"{found.pod}: {found.state}, {len(found.clusters)} clusters, {len(found.listeners)} listeners, "
        f"{principal if own else 'no certificate of its own'}"
        + (f" until {expires.isoformat(timespec='seconds')}" if expires else ""),
        {
            "server": {"version": found.version, "state": found.state, "uptime": found.uptime},
            "clusters": [
                {
                    "cluster": name,
                    "endpoints": len(hosts),
                    "healthy": sum(each.healthy for each in hosts),
                    "requests": sum(each.attempts.total for each in hosts),
                    "errors": sum(each.attempts.error for each in hosts),
                }
                for name, hosts in found.clusters.items()
            ],
            "listeners": [{"listener": name, "address": at} for name, at in found.listeners.items()],
            "certificates": [
                {
                    "identity": ", ".join(each.identities),
                    "serial": each.serial,
                    "valid_from": each.valid_from.isoformat(),
                    "expires": each.expires.isoformat(),
                    "hours_left": round((each.expires - now).total_seconds() / 3600, 1),
                }
                for each in found.certificates
            ],
            "files": sorted(found.files),
        },
        remedy="`istioctl proxy-status` tells whether istiod reached the proxy, its container's log why not",
    )


def _certificate_problems(
    certificates: Sequence[Certificate], principal: str, now: datetime
) -> Iterator[str]:
    mine = [each for each in certificates if principal in each.identities]
    if not mine:
        named = ", ".join(name for each in certificates for name in each.identities) or "none"
        yield f"no certificate carries {principal}; identities there: {named}"
    elif not any(each.valid_from <= now < each.expires for each in mine):
        times = ", ".join(f"{each.valid_from.isoformat()} to {each.expires.isoformat()}" for each in mine)
        yield f"no certificate of {principal} is valid now; they are from {times}"


def _certificate(found: Mapping[str, Any]) -> Certificate:
    return Certificate(
        serial=found["serial_number"],
        identities=tuple(name["uri"] for name in found["subject_alt_names"] if "uri" in name),
        valid_from=datetime.fromisoformat(found["valid_from"]),
        expires=datetime.fromisoformat(found["expiration_time"]),
    )

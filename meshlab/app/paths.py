"""One request over two paths: through two sidecars, and outside of the mesh. The difference is what the mesh costs.

Both paths end at the same program (Bookinfo's details) and begin at the same one (curl). They are measured in
turns, so that a machine that is busy for a moment is busy for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshlab import manifests
from meshlab.app.bookinfo import BOOKINFO, DETAILS, PORT, SLEEPER, Workload
from meshlab.app.latency import Latency, latency
from meshlab.app.once import n_requests
from meshlab.app.source import find_source
from meshlab.app.traffic_clients import CALLER
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import read_manifests
from meshlab.kube.client import Kube
from meshlab.run.results import Measure

OUTSIDE = Workload("details-outside", "details-outside", "", "default")
REQUEST = "/details/0"
BY_SIDECAR = "x-envoy-upstream-service-time"  # a header that the caller's sidecar adds to every answer
ROUNDS, EACH = 5, 30  # rounds of each path, and requests of a round
WARM = 5  # requests before the first round: connections and caches are made by them


@dataclass(frozen=True)
class Path:
    """What one path measured. failed: requests without a 200. times: of those with one."""

    name: str
    sent: int
    failed: int
    times: Latency | None


@dataclass(frozen=True)
class Comparison:
    """Both paths of one run."""

    mesh: Path
    outside: Path

    @property
    def overhead_ms(self) -> float | None:
        """What two sidecars add to the median request, in milliseconds."""
        if self.mesh.times is None or self.outside.times is None:
            return None
        return self.mesh.times.p50 - self.outside.times.p50

    def measures(self) -> list[Measure]:
        """`path-p50`, `-p90`, `-p99` and `path-error-rate` of both paths, and `mesh-overhead-p50`."""
        found = []
        for path in (self.mesh, self.outside):
            labels = {"path": path.name}
            if path.times is not None:
                for name in ("p50", "p90", "p99"):
                    found.append(Measure(f"path-{name}", round(getattr(path.times, name), 3), "ms", labels))
            found.append(Measure("path-error-rate", 100.0 * path.failed / path.sent, "percent", labels))
        if self.overhead_ms is not None:
            found.append(Measure("mesh-overhead-p50", round(self.overhead_ms, 3), "ms"))
        return found


def documents(distribution: Distribution) -> list[dict[str, Any]]:
    """Make the service outside of the mesh: the sample's own details under another name, without a sidecar.

    Raises IstioError where the sample has no such Deployment.
    """
    sample = read_manifests(distribution.samples / BOOKINFO)
    kind_and_name = ("Deployment", DETAILS.name)
    twin = next((d for d in sample if (d["kind"], d["metadata"]["name"]) == kind_and_name), None)
    if twin is None:
        raise IstioError(
            f"{BOOKINFO} has no Deployment {DETAILS.name}",
            remedy="use the samples of the release as they are",
        )
    twin["metadata"] = {"name": OUTSIDE.name}
    labels = {"app": OUTSIDE.app}
    template = twin["spec"]["template"]
    twin["spec"]["selector"] = {"matchLabels": labels}
    template["metadata"] = {"labels": {**labels, "sidecar.istio.io/inject": "false"}}
    template["spec"].pop("serviceAccountName", None)
    template["spec"]["automountServiceAccountToken"] = False
    return [manifests.read("details-outside"), twin]


def compare(kube: Kube, namespace: str, *, rounds: int = ROUNDS, each: int = EACH) -> Comparison:
    """Send the same request with and without the mesh, in turns.

    Every answer of the path through the mesh must carry the header of a sidecar, none of the other's may.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.
        rounds: How many turns.
        each: Requests of each path in a turn.

    Returns:
        Times and errors of both paths.

    Raises:
        IstioError: A path is not what it is taken for.
        ExecError: A round can't be made.
    """
    ends = {
        "mesh": (SLEEPER.selector, f"http://{host_port(f'{DETAILS.app}.{namespace}.svc', PORT)}{REQUEST}"),
        "outside": (CALLER.selector, f"http://{host_port(f'{OUTSIDE.app}.{namespace}.svc', PORT)}{REQUEST}"),
    }
    sources = {name: find_source(kube, namespace, selector) for name, (selector, _) in ends.items()}
    times: dict[str, list[float]] = {name: [] for name in ends}
    failed = dict.fromkeys(ends, 0)
    by_sidecar = dict.fromkeys(ends, 0)
    for turn in range(rounds + 1):
        count = each if turn else WARM
        for name, (_, url) in ends.items():
            done = n_requests(
                kube, sources[name], url, count, expect=BY_SIDECAR, options=("-i",), request_timeout=5
            )
            if turn:
                by_sidecar[name] += done.matched
                failed[name] += count - done.by_status.get("200", 0)
                times[name] += done.ms if set(done.by_status) == {"200"} else ()
    sent = rounds * each
    if by_sidecar["mesh"] < sent - failed["mesh"] or by_sidecar["outside"]:
        raise IstioError(
            f"{by_sidecar['mesh']} of {sent} answers of the path through the mesh and {by_sidecar['outside']} of the other "
            f"came through a sidecar",
            remedy="look at the sidecars of sleep, and at the label of plaintext-caller that opts it out",
        )
    paths = {name: Path(name, sent, failed[name], latency(times[name])) for name in ends}
    return Comparison(paths["mesh"], paths["outside"])

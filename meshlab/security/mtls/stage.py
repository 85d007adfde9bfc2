"""The mTLS stage as one piece: what is measured while plaintext is allowed, then STRICT, then all the rest.

Values only: verdicts are `meshlab.checks.mtls`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from cryptography import x509

from meshlab.app import bookinfo
from meshlab.app.deployment import fitted
from meshlab.app.once import RoundResult, ask_each, n_requests
from meshlab.app.pod_security import enforces_restricted
from meshlab.app.room import own_policies, plaintext_to
from meshlab.app.source import Source, find_source, first_application_container
from meshlab.app.traffic_clients import CALLER
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.attempt import attempt
from meshlab.core.errors import KubeError, MeshlabError, WaitTimeout
from meshlab.envoy.admin import PodPages
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.drained import wait_drained
from meshlab.istio.facts import read_facts
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary, serving
from meshlab.kube.rollout import wait_deployments
from meshlab.security.mtls import capture
from meshlab.security.mtls.capture import Captured, CapturePlace, Captures, Target
from meshlab.security.mtls.certificates import Held, held_by, presented
from meshlab.security.mtls.counters import Counted, counted, read_counters
from meshlab.security.mtls.denied import all_forbidden, denying
from meshlab.security.mtls.edges import Edge, find_edges, servers
from meshlab.security.mtls.outside import Round, paths, plaintext_round
from meshlab.security.mtls.strict import (
    PROBE,
    PROBE_CLIENT,
    PROBE_PATH,
    PROBE_PORT,
    peer_policy,
    probe_objects,
    strict_policy,
)

PROBE_REQUESTS = 3
WINDOWS = 3  # tries: a counter that falls voids a window
CAPTURE_SECONDS, PAGE_SECONDS = 60.0, 0.5  # until a capture ends by itself: for all, and more for each page


@dataclass(frozen=True)
class Strict:
    """The stage has begun: STRICT holds.

    changes: STRICT itself. pair: the pods without mutual TLS, which go as soon as they were captured. where:
    `mesh`, or the namespace. permissive: the control that was made before, or why it could not be.
    acknowledged: proxies that run with STRICT; seconds: it took.
    """

    changes: Changes
    pair: Changes
    where: str
    permissive: Round | MeshlabError
    acknowledged: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Window:
    """Requests that carried a marker, and what was captured and counted meanwhile.

    probe: the pair's requests and capture. probe_denied: the DENY policy of others that refused the pair's requests.
    captured: server pod → its capture. no_capture: why there are none (status 403: forbidden).
    """

    marker: str
    sent: RoundResult
    counted: tuple[Counted, ...]
    captured: Mapping[str, Captured] = field(default_factory=dict)
    probe_sent: RoundResult | None = None
    probe: Captured | None = None
    probe_nodes: str = ""
    probe_denied: str = ""
    no_capture: KubeError | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that the verdicts need; a part that could not be had is the error."""

    edges: tuple[Edge, ...]
    refusal: tuple[Round, tuple[RoundResult, ...]] | MeshlabError
    window: Window | MeshlabError
    held: Mapping[str, Held] | MeshlabError
    shown: Mapping[str, x509.Certificate | str] | MeshlabError


def begin(
    kube: Kube, changes: Changes, pair: Changes, istioctl: Istioctl, config: LabConfig, mesh: Mesh
) -> Strict:
    """Measure while plaintext is still taken, then demand mutual TLS and wait until the proxies do.

    In a mesh that demands it already, plaintext is allowed in the app's namespace for the measurement. Load
    must be stopped and drained. The caller restores `changes` and `pair`.

    Args:
        kube: Client of the cluster.
        changes: Gets the policy that demands mutual TLS.
        pair: Gets the pods without mutual TLS; may be the same.
        istioctl: The istioctl of the run.
        config: The settings of the run.
        mesh: The facts of the mesh.

    Returns:
        The stage.

    Raises:
        KubeError: A pod is not there, or the API refuses an object.
        WaitTimeout: The proxies do not take the policy in time.
        IstioError: No proxy can be waited for.
    """
    namespace = config.namespace
    edges = find_edges(kube, namespace)
    source = find_source(kube, namespace, CALLER.selector)
    pods, policies = probe_objects(
        namespace,
        server=_image(next(e.target_pod for e in edges if e.target is bookinfo.DETAILS)),
        client=_image(next(pod for pod in kube.pods(namespace) if pod.name == source.pod)),
        kube=kube,
    )
    with ThreadPoolExecutor(max_workers=1) as pool:
        control = pool.submit(_permissive, kube, source, edges, config, mesh)
        restricted = enforces_restricted(kube, namespace)
        pair.apply(*fitted(config, pods, pulled=False, restricted=restricted))
        permissive = control.result()
    wait_deployments(kube, namespace, [PROBE, PROBE_CLIENT], timeout=config.app.rollout_timeout)
    if _demanded_already(permissive):
        changes.apply(peer_policy(kube, namespace, "PERMISSIVE"))
        wait_acknowledged(kube, istioctl, [pod for pod in kube.pods(namespace) if pod.is_ready])
        permissive = _permissive(kube, source, edges, config, mesh)
        changes.apply(peer_policy(kube, namespace, "STRICT"))
    if own := own_policies(kube, namespace):  # the mesh refuses what nobody allows
        client = _ready(kube.pods(namespace), PROBE_CLIENT).ip
        version = own[0].api_version
        policies.append(plaintext_to(PROBE, {"app": PROBE}, PROBE_PORT, namespace, [client], version=version))
    pair.apply(*policies)
    changes.apply(strict_policy(kube, config, mesh.root_namespace))
    done = wait_acknowledged(kube, istioctl, [pod for pod in kube.pods(namespace) if pod.is_ready])
    where = "mesh" if config.scope == "mesh" else f"namespace {namespace}"
    return Strict(changes, pair, where, permissive, done.proxies, done.seconds)


def gather(
    kube: Kube, config: LabConfig, *, image: str, interfaces: tuple[str, str] = (capture.WIRE, capture.APP)
) -> Evidence:
    """Ask, capture, count and read certificates, under STRICT.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        image: Of the capture's container.
        interfaces: Of the wire and of the application's hop; tests sabotage them.

    Returns:
        The evidence; a part that could not be had is the error.

    Raises:
        KubeError: The application's pods are not there.
    """
    namespace = config.namespace
    edges = find_edges(kube, namespace)
    source = find_source(kube, namespace, CALLER.selector)
    pods = kube.pods(namespace)
    probe = _ready(pods, PROBE)
    outsider = next(pod for pod in pods if pod.name == source.pod)
    places: list[CapturePlace] = []

    def prepare(pod: PodSummary, capabilities: Sequence[str] = ("NET_RAW",)) -> CapturePlace | KubeError:
        try:
            place = capture.add_container(kube, pod, image, capabilities)
        except KubeError as problem:
            return problem
        except WaitTimeout as problem:
            return KubeError(problem.message, remedy=problem.remedy, retryable=True)
        places.append(place)
        return place

    with PodPages(kube) as pages, ThreadPoolExecutor(max_workers=8) as pool:
        targets = [edge.target_pod for edge in servers(edges)]
        refused = pool.submit(attempt, lambda: _refusal(kube, pages, source, edges, config))
        held = pool.submit(attempt, lambda: _held(pages, edges))
        outside = pool.submit(prepare, outsider, ())
        prepared = dict(
            zip([pod.name for pod in (*targets, probe)], pool.map(prepare, (*targets, probe)), strict=True)
        )
        try:
            shown = pool.submit(attempt, lambda: _shown(kube, outside.result(), edges))
            refusal = refused.result()  # ends before the counters are read: its control is counted too
            window = attempt(lambda: _windows(kube, pages, config, edges, prepared, interfaces))
            return Evidence(edges, refusal, window, held.result(), shown.result())
        finally:
            outside.result()
            capture.end(kube, places)


def _demanded_already(found: Round | MeshlabError) -> bool:
    return isinstance(found, Round) and all(asked.refused == asked.sent for _, asked in found.paths)


def _permissive(
    kube: Kube, source: Source, edges: Sequence[Edge], config: LabConfig, mesh: Mesh
) -> Round | MeshlabError:
    number = config.security.plain_requests
    with PodPages(kube) as pages:
        return attempt(
            lambda: _explained(
                kube, source, edges, mesh, plaintext_round(kube, pages, source, edges, number, _marker())
            )
        )


def _explained(kube: Kube, source: Source, edges: Sequence[Edge], mesh: Mesh, found: Round) -> Round:
    """With the policies of others that deny plaintext anyway; what may not be read explains nothing."""
    refused = [
        path
        for path, asked in found.paths
        if all_forbidden(asked) and not found.heard[path.name] and not found.handed_to(path.pods)
    ]
    if not refused:
        return found
    targets = {edge.target_pod.name: edge.target_pod for edge in edges}
    asked = {path.name: (path.url, [targets[pod] for pod in path.pods]) for path in refused}
    try:
        caller = next((pod.ip for pod in kube.pods(source.namespace) if pod.name == source.pod), "")
        return replace(found, denied=denying(kube, mesh, caller, asked))
    except KubeError:
        return found


def _refusal(
    kube: Kube, pages: PodPages, source: Source, edges: Sequence[Edge], config: LabConfig
) -> tuple[Round, tuple[RoundResult, ...]]:
    """Plaintext under STRICT; then one request per service from inside the mesh: the servers are alive."""
    number = config.security.plain_requests
    strict = plaintext_round(kube, pages, source, edges, number, _marker())
    # Connections that a replaced listener still holds end with its drain: a request at that moment gets a 503.
    wait_drained(kube, _ends(edges), pages=pages)
    sleeper = find_source(kube, config.namespace, bookinfo.SLEEPER.selector)
    urls = [path.url for path in paths(edges, config.namespace) if path.by == "service"]
    return strict, ask_each(kube, sleeper, urls, 1)


def _ends(edges: Sequence[Edge]) -> list[PodSummary]:
    """The pods at the edges' ends, each once."""
    return list({pod.name: pod for edge in edges for pod in (edge.source_pod, edge.target_pod)}.values())


def _windows(
    kube: Kube,
    pages: PodPages,
    config: LabConfig,
    edges: Sequence[Edge],
    prepared: Mapping[str, CapturePlace | KubeError],
    interfaces: tuple[str, str],
) -> Window:
    """Windows until one is not void, WINDOWS at most."""
    # Without captures the counters and identities are still measured; packets says why it is not.
    refused = next((each for each in prepared.values() if isinstance(each, KubeError)), None)
    places = (
        {pod: place for pod, place in prepared.items() if isinstance(place, CapturePlace)}
        if refused is None
        else {}
    )
    for _ in range(WINDOWS):
        wait_drained(kube, _ends(edges), pages=pages)  # a replaced listener takes its counters with it
        try:
            window = _window(kube, config, edges, places, interfaces)
        except KubeError as problem:
            if problem.status != 403 or not places:
                raise
            refused, places = (
                problem,
                {},
            )  # raw sockets are refused: the counters are counted without captures
            continue
        if not any(each.falls for each in window.counted):
            break
    return replace(window, no_capture=refused)


def _window(
    kube: Kube,
    config: LabConfig,
    edges: Sequence[Edge],
    places: Mapping[str, CapturePlace],
    interfaces: tuple[str, str],
) -> Window:
    namespace, marker = config.namespace, _marker()
    pods = kube.pods(namespace)
    probe, client = _ready(pods, PROBE), _ready(pods, PROBE_CLIENT)
    targets = [
        Target(
            places[edge.target_pod.name],
            edge.target.port,
            tuple(e.source_pod.ip for e in edges if e.target is edge.target),
        )
        for edge in servers(edges)
        if places
    ]
    targets += [Target(places[probe.name], PROBE_PORT, (client.ip,))] if places else []
    sleeper = find_source(kube, namespace, bookinfo.SLEEPER.selector)
    prober = Source(namespace, client.name, "curl", client.uid)
    page = host_port(bookinfo.PRODUCTPAGE.app, bookinfo.PORT) + bookinfo.PAGE_PATH
    probe_url = f"http://{host_port(PROBE, PROBE_PORT)}{PROBE_PATH}"
    carries = ("-A", marker)  # every service of Bookinfo hands the user agent on
    with SidecarReader(kube, namespace) as reader:
        before = read_counters(reader, edges)
        seconds = CAPTURE_SECONDS + config.security.requests * PAGE_SECONDS
        with Captures(kube, targets, marker, interfaces, seconds) as captures:
            sent = n_requests(
                kube, sleeper, page, config.security.requests, expect=bookinfo.PAGE_TITLE, options=carries
            )
            probed = n_requests(kube, prober, probe_url, PROBE_REQUESTS, options=carries)
            seen = captures.stop()
        after = read_counters(reader, edges)
    by_pod = {each.pod: each for each in seen}
    return Window(
        marker=marker,
        sent=sent,
        counted=counted(edges, before, after),
        captured={pod: each for pod, each in by_pod.items() if pod != probe.name},
        probe_sent=probed,
        probe=by_pod.get(probe.name),
        probe_nodes=f"{client.node} → {probe.node}" if client.node != probe.node else probe.node,
        probe_denied=_probe_denied(kube, probe_url, client, probe) if all_forbidden(probed) else "",
    )


def _probe_denied(kube: Kube, url: str, client: PodSummary, probe: PodSummary) -> str:
    try:
        facts = read_facts(kube, client.namespace)
        return denying(kube, facts, client.ip, {PROBE: (url, [probe])}).get(PROBE, "")
    except KubeError:
        return ""


def _held(pages: PodPages, edges: Sequence[Edge]) -> dict[str, Held]:
    pods = {pod.name: pod for edge in edges for pod in (edge.source_pod, edge.target_pod)}
    return {name: held_by(pages, pod.namespace, name) for name, pod in pods.items()}


def _shown(
    kube: Kube, outside: CapturePlace | KubeError, edges: Sequence[Edge]
) -> dict[str, x509.Certificate | str]:
    if isinstance(outside, KubeError):
        raise outside
    return presented(kube, outside, [(edge.target_pod.ip, edge.target.port) for edge in servers(edges)])


def _ready(pods: Sequence[PodSummary], name: str) -> PodSummary:
    for pod in serving(pods):
        if pod.labels.get("app") == name:
            return pod
    raise KubeError(f"no Ready pod of {name}", remedy="run the stage from its begin", retryable=True)


def _image(pod: PodSummary) -> str:
    return pod.images[first_application_container(pod.containers)]


def _marker() -> str:
    return f"meshlab{secrets.token_hex(12)}"

"""Read the live cluster, mesh and application, and have the checks judge what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import kubernetes

from meshlab.app import bookinfo as app
from meshlab.app.once import RoundResult, n_requests
from meshlab.app.source import find_source
from meshlab.checks import app as app_checks
from meshlab.checks import cluster as cluster_checks
from meshlab.checks import envoy as envoy_checks
from meshlab.checks import istio as istio_checks
from meshlab.checks.analyze import analyze
from meshlab.checks.base import skipped
from meshlab.checks.envoy_admin import dashboard, read_dashboard
from meshlab.config.settings import LabConfig
from meshlab.core.address import host_port
from meshlab.core.errors import IstioError, KubeError, SecretsWithheldError, WaitTimeout
from meshlab.core.progress import Progress
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.analysis import analyze_mesh
from meshlab.istio.distribution import Distribution
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.istio.proxies import proxy_statuses, wait_synced
from meshlab.istio.syncz import proxy_states
from meshlab.kube.client import Kube
from meshlab.kube.kubectl import client_version
from meshlab.kube.pods import PodSummary
from meshlab.run.journal import RunRef, record_facts
from meshlab.run.results import CheckResult

NO_VERSION = "65536.65536.65536"  # istiod's MaxIstioVersion, given to a client that names none
IMAGE_PREFIX = "localhost/"  # of every image that this project makes


def lab_pods(kube: Kube, mesh: Mesh) -> list[PodSummary]:
    """List every pod of the namespaces where Istio runs, and of the app's.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh.

    Returns:
        The pods, Istio's first.
    """
    return [pod for namespace in mesh.namespaces for pod in kube.pods(namespace)]


def own_proxies(pods: Sequence[PodSummary], config: LabConfig) -> tuple[str, ...] | None:
    """Name the proxies that a run answers for on a mesh of somebody else: those of the app's namespace.

    Args:
        pods: Of the cluster.
        config: The settings.

    Returns:
        `pod.namespace` of each; None on a mesh of ours, where all of them count.
    """
    if config.ours:
        return None
    return istio_checks.expected_proxies(pod for pod in pods if pod.namespace == config.namespace)


def cluster_version(run: RunRef, kube: Kube, config: LabConfig, istioctl: str) -> CheckResult:
    """Check cluster.version; the versions become facts of the run.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        istioctl: The distribution's version.

    Returns:
        The check.

    Raises:
        KubeError: The API server does not answer.
    """
    server, client = kube.server_version(), kubernetes.__version__
    record_facts(run, versions={"kubernetes": server, "python_client": client})
    return cluster_checks.version(
        server=server,
        python_client=client,
        istioctl=istioctl,
        kubectl=client_version(),
        wanted=config.local.kubernetes_version if config.cluster == "local" else None,
        kubelets=[node["status"]["nodeInfo"]["kubeletVersion"] for node in kube.objects("v1", "Node")],
    )


def await_synced(kube: Kube, istioctl: Istioctl, config: LabConfig, mesh: Mesh, progress: Progress) -> str:
    """Wait until istiod has sent its configuration to every proxy that this run answers for. It is no failure when it has not.

    Args:
        kube: Client of the cluster.
        istioctl: Asks istiod.
        config: The settings.
        mesh: The facts of the mesh.
        progress: Told of the wait.

    Returns:
        Why it is not so; "" where it is.
    """
    pods = lab_pods(kube, mesh)
    proxies = own_proxies(pods, config) or istio_checks.expected_proxies(pods)
    try:
        states = partial(proxy_states, kube, istioctl, proxies)
        wait_synced(states, proxies, timeout=config.istio.install_timeout, progress=progress)
    except (WaitTimeout, IstioError) as late:
        return late.message
    return ""


def istio_cli(
    istioctl: Istioctl, distribution: Distribution, wanted: str | None, sha256: str | None
) -> CheckResult:
    """Check istio.cli.

    Args:
        istioctl: Is asked for its version and its checksum.
        distribution: Tells where it is.
        wanted: The version that the settings ask for; None where any will do.
        sha256: The checksum that it must have; None where none is known.

    Returns:
        The check.

    Raises:
        IstioError: istioctl does not run.
    """
    client = istioctl.version(remote=False)
    return istio_checks.cli(
        distribution.istioctl,
        client.client,
        istioctl.checksum(),
        revision=client.client_revision,
        wanted=wanted,
        expected_sha256=sha256,
    )


def istio_control_plane(kube: Kube, config: LabConfig, mesh: Mesh) -> CheckResult:
    """Check istio.control-plane: the control plane that serves us, and the gateways.

    Args:
        kube: Client of the cluster.
        config: The settings: on a cluster of ours the profile says which gateways there must be.
        mesh: The facts of the mesh.

    Returns:
        The check.

    Raises:
        KubeError: The API server does not answer.
    """
    profile = config.istio.profile if config.ours and config.istio.operator_file is None else ""
    pods = [pod for namespace in mesh.istio_namespaces for pod in kube.pods(namespace)]
    return istio_checks.control_plane(pods, components=istio_checks.components_of(mesh, profile=profile))


def istio_injection(kube: Kube, namespace: str) -> CheckResult:
    """Check istio.injection.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.

    Returns:
        The check.

    Raises:
        KubeError: The API server does not answer.
    """
    found = [each["metadata"] for each in kube.objects("v1", "Namespace")]
    labels = {each["name"]: each.get("labels") or {} for each in found}
    return istio_checks.injection(labels, namespace, kube.pods(namespace))


def istio_versions(run: RunRef, kube: Kube, istioctl: Istioctl, config: LabConfig, mesh: Mesh) -> CheckResult:
    """Check istio.versions; the versions become facts of the run.

    Args:
        run: The run.
        kube: Client of the cluster.
        istioctl: Asks istiod.
        config: The settings.
        mesh: The facts of the mesh.

    Returns:
        The check.

    Raises:
        IstioError: istioctl can't ask istiod.
        KubeError: The API server does not answer.
    """
    found = istioctl.version()
    # A client of istiod that told no version (istioctl's own connection lingers) is no proxy.
    found = replace(found, data_plane=tuple(each for each in found.data_plane if each[1] != NO_VERSION))
    plane = next((version for _, version in found.control_plane), None)
    proxies = dict(Counter(version for _, version in found.data_plane))
    told = {"client": found.client, "control_plane": plane, "data_plane": proxies}
    record_facts(run, versions={"istio": told})
    pods = lab_pods(kube, mesh)
    expected, own = istio_checks.expected_proxies(pods), own_proxies(pods, config)
    return istio_checks.versions(found, expected_proxies=expected, own=own)


def istio_proxies_synced(kube: Kube, istioctl: Istioctl, config: LabConfig, mesh: Mesh) -> CheckResult:
    """Check istio.proxies-synced: in the namespaces that the run may look at.

    Args:
        kube: Client of the cluster.
        istioctl: Asks istiod.
        config: The settings.
        mesh: The facts of the mesh.

    Returns:
        The check.

    Raises:
        IstioError: istioctl can't ask istiod.
        KubeError: The API server does not answer.
    """
    within = None if config.scope == "mesh" else config.namespace
    pods = lab_pods(kube, mesh)
    expected, own = istio_checks.expected_proxies(pods), own_proxies(pods, config)
    statuses = proxy_statuses(kube, partial(proxy_states, kube, istioctl, expected), within=within)
    return istio_checks.proxies_synced(statuses, expected, own=own)


def istio_analyze(kube: Kube, istioctl: Istioctl, mesh: Mesh) -> CheckResult:
    """Check istio.analyze; it is skipped where the account may not read what istioctl reads.

    Args:
        kube: Client of the cluster.
        istioctl: Analyzes the mesh.
        mesh: The facts of the mesh as they are for the application's namespace.

    Returns:
        The check.

    Raises:
        IstioError: istioctl fails.
        KubeError: The API server does not answer.
    """
    try:
        found = analyze_mesh(kube, istioctl, mesh.system_namespace)
        return analyze(found, namespaces=[mesh.system_namespace, mesh.namespace])
    except SecretsWithheldError as withheld:
        return skipped("istio.analyze", withheld.message, asked_for=True, remedy=withheld.remedy)


def app_bookinfo(run: RunRef, kube: Kube, namespace: str) -> CheckResult:
    """Check app.bookinfo; the images that run become facts of the run.

    Args:
        run: The run.
        kube: Client of the cluster.
        namespace: Of the application.

    Returns:
        The check.

    Raises:
        KubeError: The API server does not answer.
    """
    pods = kube.pods(namespace)
    record_facts(run, images=images_of(pods))
    names = [workload.name for workload in app.WORKLOADS]
    return app_checks.bookinfo(names, kube.objects("apps/v1", "Deployment", namespace), pods)


def app_productpage(kube: Kube, config: LabConfig) -> CheckResult:
    """Check app.productpage.

    Args:
        kube: Client of the cluster.
        config: The settings: how many requests, and how long one may take.

    Returns:
        The check.

    Raises:
        KubeError: There is no pod to send from, or the API server does not answer.
        ExecError: The requests can't be sent.
    """
    answers = ask_productpage(kube, config.namespace, config.app.page_requests, expect=app.PAGE_TITLE)
    return app_checks.productpage(answers, p50_ms=config.app.page_p50_ms)


def ask_productpage(kube: Kube, namespace: str, n: int, *, expect: str = "") -> RoundResult:
    """Send requests from the sleep pod to productpage, one after the other.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.
        n: How many.
        expect: Text that each body must hold.

    Returns:
        What came back, request by request.

    Raises:
        KubeError: There is no pod to send from, or the API server does not answer.
        ExecError: The requests can't be sent.
    """
    source = find_source(kube, namespace, app.SLEEPER.selector)
    url = host_port(app.PRODUCTPAGE.app, app.PORT) + app.PAGE_PATH
    return n_requests(kube, source, url, n, expect=expect)


def envoy_scrape(kube: Kube, namespace: str) -> CheckResult:
    """Check envoy.scrape.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.

    Returns:
        The check.

    Raises:
        KubeError: productpage has no Ready pod, or it can't be reached.
    """
    with SidecarReader(kube, namespace) as reader:
        return envoy_checks.scrape_pod(reader, _page_pod(kube, namespace))


def envoy_dashboard(run: RunRef, kube: Kube, mesh: Mesh) -> CheckResult:
    """Check envoy.dashboard; the pages become evidence, and Envoy's version a fact of the run.

    Args:
        run: The run.
        kube: Client of the cluster.
        mesh: The facts of the mesh.

    Returns:
        The check.

    Raises:
        KubeError: productpage has no Ready pod, or it can't be reached.
        QueryError: Envoy's admin pages do not answer.
    """
    found = read_dashboard(kube, mesh.namespace, _page_pod(kube, mesh.namespace).name)
    folder = run.evidence / "envoy"
    folder.mkdir(exist_ok=True)
    for name, text in found.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    record_facts(run, versions={"envoy": found.version})
    upstreams = [mesh.service_host(name) for name in ("details", "reviews")]
    principal = mesh.spiffe(mesh.namespace, app.PRODUCTPAGE.service_account)
    return dashboard(found, principal=principal, upstreams=upstreams)


def images_of(pods: Sequence[PodSummary]) -> dict[str, dict[str, str | bool]]:
    """Workload → its image, and whether this project made it. A workload is its Deployment's name."""
    found: dict[str, dict[str, str | bool]] = {}
    for pod in pods:
        names = [name for name in pod.containers if name != istio_checks.PROXY and name in pod.images]
        image = pod.images[names[0]] if names else ""
        workload = "-".join(pod.name.split("-")[:-2]) or pod.name
        found[workload] = {"image": image, "ours": image.startswith(IMAGE_PREFIX)}
    return found


def _page_pod(kube: Kube, namespace: str) -> PodSummary:
    pods = [each for each in kube.pods(namespace, app.PRODUCTPAGE.selector) if each.is_ready]
    pod = next((each for each in pods if not each.deleting), None)
    if pod is None:
        raise KubeError(
            f"no Ready pod of {app.PRODUCTPAGE.name} in {namespace}", remedy="look at check app.bookinfo"
        )
    return pod

"""Ask the live Prometheus and the sidecars, and have the checks judge the answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace

from meshlab.app.bookinfo import EDGES
from meshlab.app.loop import TrafficResult
from meshlab.app.once import RoundResult
from meshlab.checks.base import run_check
from meshlab.checks.live_mesh import ask_productpage, lab_pods
from meshlab.checks.present import metrics, scraped_within, scraping_of
from meshlab.checks.prometheus import Sending, code_200, requests_total, sleep_to_productpage
from meshlab.checks.reconcile import once_more, reconcile
from meshlab.checks.snapshot import Snapshot, take_scraped, take_snapshot
from meshlab.checks.targets import NODE_JOBS, SINGLE_JOBS, targets
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.core.patience import patience_of
from meshlab.envoy.stats import SidecarReader
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.observability.addons.places import ADDON
from meshlab.observability.addons.prometheus import PROMETHEUS
from meshlab.observability.addons.query import PrometheusClient
from meshlab.observability.addons.scraping import job_names
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult

Asker = Callable[
    [PrometheusClient, float], CheckResult
]  # asks Prometheus, waits for so many seconds, and judges
OWN_JOB = "prometheus"  # by which a Prometheus scrapes itself, the addon's among them
OTHER_JOBS = "none of Istio's addon: sidecars alone are expected to be scraped"
SECOND_WINDOW = 20  # requests, where the first window of prometheus.reconcile was void


def ask_prometheus(
    run: RunRef,
    kube: Kube,
    config: LabConfig,
    checks: Mapping[str, Asker],
) -> list[CheckResult]:
    """Make and record checks that ask Prometheus, side by side through one port-forward and with one deadline.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        checks: Id → asks the client, waits for so many seconds, and judges.

    Returns:
        The checks, in their order: each an infra-error where Prometheus can't be reached.
    """
    with ExitStack() as stack, ThreadPoolExecutor(max_workers=len(checks)) as pool:
        client = attempt(lambda: stack.enter_context(metrics(run, kube, config)))
        timeout = stack.enter_context(scraped_within(run, config))

        def make(check_id: str) -> CheckResult:
            return record_check(run, run_check(check_id, lambda: checks[check_id](given(client), timeout)))

        return list(pool.map(make, checks))


def document_queries(
    run: RunRef, kube: Kube, config: LabConfig, mesh: Mesh, sending: Sending
) -> dict[str, Asker]:
    """List prometheus.targets and the document's first three queries, for `ask_prometheus`.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        mesh: The facts of the mesh.
        sending: What the load has sent by now.

    Returns:
        Check id → asks the client, waits for so many seconds, and judges.
    """
    namespace, clock = config.namespace, patience_of(run.run_id).clock
    asked = (namespace, EDGES, sending)

    def kept() -> tuple[str, ...]:  # once the way to Prometheus is open: then it was read
        return scraping_of(run, config).reporters

    def expected_targets(client: PrometheusClient, timeout: float) -> CheckResult:
        place = PROMETHEUS.place(kube, config)
        # What stands where Istio puts its addon is the addon, unless its jobs are quite different ones.
        addon = config.ours or place is None or (place.how == ADDON and looks_like_addon(job_names(client)))
        nodes = [node["metadata"]["name"] for node in kube.objects("v1", "Node")] if addon else None
        check = targets(client, lab_pods(kube, mesh), nodes, timeout=timeout, clock=clock)
        if config.ours or place is None:
            return check
        scraping = asdict(scraping_of(run, config))
        asked = {**place.row(), **({} if addon or place.how != ADDON else {"jobs": OTHER_JOBS})}
        return replace(check, evidence={**check.evidence, "asked": asked, "scraping": scraping})

    return {
        "prometheus.targets": expected_targets,
        "prometheus.requests-total": lambda client, timeout: requests_total(
            client, *asked, reporters=kept(), timeout=timeout, clock=clock
        ),
        "prometheus.code-200": lambda client, timeout: code_200(
            client, *asked, reporters=kept(), timeout=timeout, clock=clock
        ),
        "prometheus.sleep-to-productpage": lambda client, timeout: sleep_to_productpage(
            client, namespace, EDGES[0], sending, reporters=kept(), timeout=timeout, clock=clock
        ),
    }


def looks_like_addon(jobs: Collection[str] | None) -> bool:
    """Tell whether a Prometheus that stands where Istio puts its addon is taken for it, by its scrape jobs.

    One job is enough: where the others are missing, that is a fault of the addon.

    Args:
        jobs: Their names; None where they can't be read.

    Returns:
        False only where it has none of the addon's jobs, beside that which scrapes Prometheus itself: most have that
        one. Releases of the addon differ in hyphens.
    """
    if jobs is None:
        return True
    has = {name.replace("-", "") for name in jobs}
    return any(job.replace("-", "") in has for job in (*NODE_JOBS, *SINGLE_JOBS) if job != OWN_JOB)


def read_sidecars(kube: Kube, mesh: Mesh) -> Snapshot:
    """Read what the sidecars of sleep and productpage have counted, once nothing moves.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh.

    Returns:
        The counts.

    Raises:
        KubeError: A sidecar can't be reached.
        WaitTimeout: The counters go on moving.
    """
    with SidecarReader(kube, mesh.namespace) as reader:
        return take_snapshot(kube, reader, mesh)


def reconciled(
    run: RunRef,
    kube: Kube,
    config: LabConfig,
    mesh: Mesh,
    before: Snapshot,
    sent: Sequence[TrafficResult | RoundResult],
) -> CheckResult:
    """Check prometheus.reconcile: what was counted since `before` is what was sent.

    A window in which a pod or a listener was replaced is void; a second one of a few requests is made then, once.

    Args:
        run: The run.
        kube: Client of the cluster.
        config: The settings.
        mesh: The facts of the mesh.
        before: What had been counted before the load.
        sent: What the load has sent.

    Returns:
        The check.

    Raises:
        KubeError: A sidecar can't be reached.
        QueryError: Prometheus does not answer.
    """

    def second() -> CheckResult:
        begin = read_sidecars(kube, mesh)
        return _window(
            run, kube, config, mesh, begin, [ask_productpage(kube, config.namespace, SECOND_WINDOW)]
        )

    return once_more(_window(run, kube, config, mesh, before, sent), second)


def _window(
    run: RunRef,
    kube: Kube,
    config: LabConfig,
    mesh: Mesh,
    before: Snapshot,
    sent: Sequence[TrafficResult | RoundResult],
) -> CheckResult:
    after = read_sidecars(kube, mesh)
    with metrics(run, kube, config) as client, scraped_within(run, config) as timeout:
        clock = patience_of(run.run_id).clock
        scraped = take_scraped(
            client,
            after,
            config.namespace,
            before=before,
            scraping=scraping_of(run, config),
            timeout=timeout,
            clock=clock,
        )
    return reconcile(before, after, sent, scraped)

"""What a night does beyond the lab: two ways compared, the sidecars' use, and telling people what got worse."""

from __future__ import annotations

from meshlab.app import paths
from meshlab.app.deployment import put_up
from meshlab.checks.base import CATALOG, owed, run_check
from meshlab.checks.present import answer_timeout, metrics
from meshlab.cli.flags import wrong_provider
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Provider
from meshlab.core.errors import InputError, NotHereError
from meshlab.core.patience import patience_of
from meshlab.history.nights import tell_tonight
from meshlab.istio.distribution import Distribution
from meshlab.kube.apply import ObjectRef
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.observability.addons.proxy_usage import read_usage
from meshlab.run.journal import RunRef, keep_evidence, record_check, record_measures, report_progress
from meshlab.run.ledger import Entry
from meshlab.run.results import SCOPES, CheckResult
from tasks.common import lab_task, log_info
from tasks.resume import any_value, objects_ready
from tasks.secrets import alert_sender

PROVIDERS: tuple[Provider, ...] = ("existing",)  # a night makes no cluster


def judge_provider(config: LabConfig) -> None:
    """Refuse a cluster that the run would have to make. Raises InputError; the command line says it earlier."""
    if config.cluster not in PROVIDERS:
        raise InputError([wrong_provider(config, PROVIDERS)])


def skip_beyond_scope(run: RunRef, config: LabConfig) -> list[CheckResult]:
    """Skip every check that the write scope excludes; a check that is made all the same replaces its skip later.

    Args:
        run: The run.
        config: The settings of the run.

    Returns:
        The skipped checks.
    """

    def never() -> CheckResult:
        raise AssertionError("a check beyond the write scope was called")

    specs = [CATALOG[check_id] for check_id in owed(config)]
    beyond = [s for s in specs if SCOPES.index(s.scope) > SCOPES.index(config.scope)]
    return [record_check(run, run_check(spec.id, never, granted=config.scope)) for spec in beyond]


@lab_task("deploy-outside", retries=1, verify=objects_ready, records_objects=True)
def deploy_outside(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> tuple[ObjectRef, ...]:
    """Deploy a service outside of the mesh in our own namespace: the end of the path that has no sidecar.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        What was applied.
    """
    context_of(run).ledger.intend(Entry("app", config.namespace, cluster.endpoint))
    wanted = paths.documents(distribution)
    return put_up(kube_of(cluster), config, wanted, distribution.images, progress=report_progress)


@lab_task("compare-paths", verify=any_value, depends_on_pods=True)
def compare_paths(run: RunRef, config: LabConfig, cluster: ClusterRef) -> paths.Comparison:
    """Send the same request with and without the mesh, in turns; measure p50, p90, p99 and errors of both.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.

    Returns:
        Times and errors of both paths.
    """
    found = paths.compare(kube_of(cluster), config.namespace)
    record_measures(run, *found.measures())
    keep_evidence(run, "paths.json", found)
    log_info(f"with the mesh {found.mesh.times}, without {found.outside.times}")
    return found


@lab_task("measure-proxies", verify=any_value, depends_on_pods=True)
def measure_proxies(run: RunRef, config: LabConfig, cluster: ClusterRef) -> None:
    """Measure CPU and memory of the sidecars per 1000 requests/s while load flows.

    cAdvisor is asked, through Prometheus.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
    """
    kube, patience = kube_of(cluster), patience_of(run.run_id)
    pods = [pod.name for pod in kube.pods(config.namespace)]
    try:
        with (
            metrics(run, kube, config) as client,
            patience.awaiting(answer_timeout(run, config)) as timeout,
        ):
            usage = read_usage(client, config.namespace, pods, timeout=timeout, clock=patience.clock)
    except NotHereError as problem:
        log_info(f"not measured: {problem.message}")
        return
    record_measures(run, *usage.measures())
    log_info(f"{usage.proxies} sidecars: {usage}")


@lab_task("tell-people")
def tell_people(run: RunRef, config: LabConfig) -> int:
    """Send what began or ended tonight to the webhook, once each.

    Args:
        run: The run.
        config: The settings of the run.

    Returns:
        How many messages got through.
    """
    machine = context_of(run).machine
    return tell_tonight(run, config, machine, alert_sender(machine))

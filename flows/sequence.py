"""What the flows share: how a run begins to prove, how it ends whatever happened, and the lab's order itself."""

from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.istio.distribution import Distribution
from meshlab.run.journal import RunRef
from tasks.addons import (
    announce_tracing,
    deploy_grafana,
    deploy_jaeger,
    deploy_kiali,
    deploy_prometheus,
    deploy_traffic_clients,
)
from tasks.audit import check_audit
from tasks.authorization import check_authz
from tasks.bookinfo import deploy_bookinfo
from tasks.cluster import start_cluster
from tasks.dashboards_and_traces import begin_phase, check_dashboards, check_graph, check_traces
from tasks.edge import check_edge
from tasks.gateway_api import make_gateway_api
from tasks.images import pull_images
from tasks.istio import enable_injection, find_istio, install_istio
from tasks.load import measure_load
from tasks.mesh_checks import check_app, check_cluster, check_istio
from tasks.nights import compare_paths, deploy_outside, measure_proxies
from tasks.observability import (
    check_prometheus,
    check_rate,
    count_requests,
    reconcile_requests,
)
from tasks.replaced import check_replaced
from tasks.room import make_room, make_room_for_plaintext
from tasks.run import applied, run_to_end
from tasks.security import begin_strict, check_mtls, end_strict
from tasks.teardown import CreatedResources, attempt, on_its_way_out, remember, take_down
from tasks.traffic import (
    generate_load,
    halt_load,
    start_background_traffic,
    stop_background_traffic,
    stop_load,
)


def run_lab(
    run: RunRef,
    config: LabConfig,
    created: CreatedResources,
    prove: Callable[[RunRef, LabConfig, CreatedResources], None],
    *,
    failed: Callable[[], object] = lambda: None,
    leave: Callable[[int | None], object] | None = None,
) -> State[Any]:
    """Prove, then take down what was made and write the result, whatever happened meanwhile.

    Args:
        run: The run.
        config: What was asked for.
        created: What is there to be removed; `prove` fills it as it goes.
        prove: From the cluster to the last check.
        failed: Called once `prove` has failed.
        leave: Takes down what was made, given the signal that ended the run, if one did; `take_down` where not given.

    Returns:
        The flow's state: Completed where every check passed.
    """

    def work() -> None:
        if on_its_way_out(run):
            remember(run, created)  # it was cut off while it removed what it had made, and goes on there
        else:
            prove(run, config, created)

    def take_all_down(stopped: int | None) -> None:
        halt_load(run)
        if leave is not None:
            leave(stopped)
        else:
            take_down(run, config, created, stopped=stopped)

    return run_to_end(run, config, work, failed=failed, leave=take_all_down)


def bring_up(run: RunRef, config: LabConfig, created: CreatedResources) -> tuple[ClusterRef, Distribution]:
    """Make what must be there before the first pod with a sidecar is created: cluster, Istio, all mesh configuration.

    Args:
        run: The run.
        config: The settings of the run.
        created: Filled with what was made.

    Returns:
        The cluster, and Istio's istioctl and samples.
    """
    cluster = created.cluster = start_cluster(run, config, child=created.child)
    istio = created.istio = find_istio(run, config, cluster)
    if config.needs_pull:
        pull_images(run, config, cluster, istio)
    created.objects = list(
        make_gateway_api(run, config, cluster, istio)
    )  # istiod looks for it when it starts
    created.mesh = install_istio(run, config, cluster, istio)  # where Istio is there already, it is used
    created.labelled = enable_injection(run, config, cluster)
    created.objects += make_room(run, config, cluster)
    announced, created.tracing = announce_tracing(run, config, cluster, istio)
    created.objects += announced
    return cluster, istio


def prove_mesh(run: RunRef, config: LabConfig, created: CreatedResources, *, nightly: bool = False) -> None:
    """The lab in the document's order: traffic while queries are asked, counts reconciled, then security under STRICT."""
    cluster, istio = bring_up(run, config, created)
    bookinfo = deploy_bookinfo.submit(run, config, cluster, istio)
    clients = deploy_traffic_clients.submit(run, config, cluster, istio)
    prometheus = deploy_prometheus.submit(run, config, cluster, istio)
    outside = [deploy_outside.submit(run, config, cluster, istio)] if nightly else []  # for compare_paths
    created.objects += applied(prometheus, bookinfo, clients, *outside)
    bookinfo.result()
    clients.result()  # every check needs these two; Prometheus is needed by its own checks only
    created.objects += make_room_for_plaintext(run, config, cluster, istio)
    jaeger = deploy_jaeger.submit(run, config, cluster, istio)  # the first time it compiles meanwhile
    grafana = deploy_grafana.submit(run, config, cluster, istio)  # these two where their images can be had
    kiali = deploy_kiali.submit(run, config, cluster, istio)
    check_cluster(run, config, cluster, istio)
    check_istio(run, config, cluster, istio)
    check_app(run, config, cluster)

    before = count_requests(run, config, cluster)  # from here on no mesh configuration changes
    phase = begin_phase(run, config, cluster)
    start_background_traffic(run, config, cluster)
    fast = generate_load(run, config, cluster, "fast")
    check_prometheus(run, config, cluster, before)
    created.objects += applied(grafana)
    check_dashboards(run, config, cluster, istio)
    sent_fast = stop_load(run, fast, "fast")
    created.objects += applied(jaeger, kiali)
    gentle = generate_load(run, config, cluster, "gentle")
    check_rate(run, config, cluster)
    check_graph(run, config, cluster, istio, phase)
    check_traces(run, config, cluster, phase)
    if nightly:
        attempt(measure_proxies, run, config, cluster)  # a measure over nights; no check hangs on it
    sent_gentle = stop_load(run, gentle, "gentle")
    stop_background_traffic(run)
    reconcile_requests(run, config, cluster, before, [sent_fast, sent_gentle])
    if nightly:
        attempt(compare_paths, run, config, cluster)  # when nothing else is sent
    measure_load(run, config, cluster)  # where --load asks for it; after the counts, which it would change

    strict = attempt(begin_strict, run, config, cluster, istio)  # measures plaintext, then forbids it
    check_mtls(run, config, cluster, strict)
    check_authz(run, config, cluster, istio)
    check_edge(run, config, cluster, istio)
    check_audit(run, config, cluster, istio)
    check_replaced(run, config, cluster, istio)  # where settings ask for it: it takes minutes
    end_strict(run, config, cluster, strict)

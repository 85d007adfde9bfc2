"""The whole lab, in the order of the document it replaces.

cluster → Istio and all mesh configuration → Bookinfo, sleep, Prometheus and Jaeger → traffic while queries are asked,
dashboards examined, graph and traces read → load drained, counts reconciled → under STRICT: mutual TLS, authorization,
ingress, egress and audit proved → uninstall → teardown.

Started by hand (`python -m flows.full_lab`), or from Prefect. `--cluster local` requires one Linux machine and root;
`existing` requires a kubeconfig.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged, the run written down and the cluster started before that.
    from meshlab.cli.main import main

    sys.exit(
        main(
            sys.argv[1:],
            program="python -m flows.full_lab",
            resumable=True,
            about=__doc__,
            load=lambda: import_module("flows.full_lab").full_lab,
        )
    )

from typing import Any

from prefect import flow
from prefect.states import State

from meshlab.config.settings import LabConfig
from meshlab.core.signals import signals_wait
from meshlab.run.journal import RunRef
from tasks.addons import (
    announce_tracing,
    deploy_grafana,
    deploy_jaeger,
    deploy_kiali,
    deploy_parties,
    deploy_prometheus,
)
from tasks.audit import check_audit
from tasks.authorization import check_authz
from tasks.bookinfo import deploy_bookinfo
from tasks.cluster import start_cluster
from tasks.edge import check_edge
from tasks.istio import enable_injection, find_istio, install_istio
from tasks.observability import (
    check_app,
    check_cluster,
    check_istio,
    check_prometheus,
    check_rate,
    count_requests,
    reconcile_requests,
)
from tasks.run import applied, begin_run, end_run, note_failure, stop_of
from tasks.security import begin_strict, check_mtls, end_strict
from tasks.teardown import Made, attempt, on_its_way_out, remember, take_down
from tasks.traffic import generate_load, halt_load, start_mixed, stop_load, stop_mixed
from tasks.views import begin_phase, check_dashboards, check_graph, check_traces


@flow(name="full-lab", persist_result=False)
def full_lab(config: LabConfig = LabConfig()) -> State[Any]:  # noqa: B008 - frozen, and the default of the UI's form
    """Bring a mesh up, prove what it measures, take it down.

    Args:
        config: What is wanted of the run; every field has a default.
    """
    run, child = begin_run(config)
    made, stopped = Made(child=child), None
    try:
        if on_its_way_out(run):
            remember(run, made)  # cut off while it removed what it had made, it goes on there
        else:
            prove(run, config, made)
    except Exception as problem:  # noqa: BLE001 - whatever broke, the lab is taken down
        note_failure(run, problem)  # what broke is in the journal; the lab is still taken down and reported
    except BaseException as problem:
        stopped = stop_of(run, problem)
        raise
    finally:
        with signals_wait():
            halt_load(run)
            take_down(run, config, made, stopped=stopped)
            state = end_run(run, config, signum=stopped)
    return state


def prove(run: RunRef, config: LabConfig, made: Made) -> None:
    """From an empty machine to the last proof; `made` tells how far it came."""
    cluster = made.cluster = start_cluster(run, config, child=made.child)
    istio = made.istio = find_istio(run, config, cluster)
    made.mesh = install_istio(run, config, cluster, istio)
    made.labelled = enable_injection(run, config, cluster)  # before the pods are born, as is tracing:
    announced, made.tracing = announce_tracing(run, config, cluster, istio)
    bookinfo = deploy_bookinfo.submit(run, config, cluster, istio)
    parties = deploy_parties.submit(run, config, cluster, istio)
    prometheus = deploy_prometheus.submit(run, config, cluster, istio)
    made.objects = [*announced, *applied(prometheus, bookinfo, parties)]
    bookinfo.result()
    parties.result()  # nothing goes without these two; without Prometheus only its own checks
    jaeger = deploy_jaeger.submit(run, config, cluster, istio)  # the first time it compiles meanwhile
    grafana = deploy_grafana.submit(run, config, cluster, istio)  # these two where their images can be had
    kiali = deploy_kiali.submit(run, config, cluster, istio)
    check_cluster(run, config, cluster, istio)
    check_istio(run, config, cluster, istio)
    check_app(run, config, cluster)

    before = count_requests(run, config, cluster)  # from here on no mesh configuration changes
    phase = begin_phase(run, config, cluster)
    start_mixed(run, config, cluster)
    fast = generate_load(run, config, cluster, "fast")
    check_prometheus(run, config, cluster, before)
    made.objects += applied(grafana)
    check_dashboards(run, config, cluster, istio)
    sent_fast = stop_load(run, fast, "fast")
    made.objects += applied(jaeger, kiali)
    gentle = generate_load(run, config, cluster, "gentle")
    check_rate(run, config, cluster)
    check_graph(run, config, cluster, istio, phase)
    check_traces(run, config, cluster)
    sent_gentle = stop_load(run, gentle, "gentle")
    stop_mixed(run)
    reconcile_requests(run, config, cluster, before, [sent_fast, sent_gentle])

    strict = attempt(begin_strict, run, config, cluster, istio)  # measures plaintext, then forbids it
    check_mtls(run, config, cluster, strict)
    check_authz(run, config, cluster, istio)
    check_edge(run, config, cluster, istio)
    check_audit(run, config, cluster, istio)
    end_strict(run, config, cluster, strict)

"""Every night: all checks that the write scope allows, on a mesh that exists, and what changed since earlier nights.

Triggered by a schedule (prefect.yaml), or `python -m flows.nightly --kubeconfig FILE --context NAME`. Requires a
kubeconfig of a cluster with Istio, Prometheus and Jaeger. Writes to a namespace of its own only, unless --allow-changes
is given, and removes what it applied.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Prefect is slow to import: the input is judged and the run written down before that.
    from meshlab.cli.main import main

    sys.exit(
        main(
            sys.argv[1:],
            program="python -m flows.nightly",
            resumable=True,
            about=__doc__,
            load=lambda: import_module("flows.nightly").nightly,
            flow="nightly-validation",
            providers=("existing",),
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
from tasks.nights import (
    compare_paths,
    deploy_outside,
    judge_provider,
    measure_proxies,
    skip_beyond_scope,
    tell_people,
)
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


@flow(name="nightly-validation", persist_result=False)
def nightly(config: LabConfig = LabConfig(cluster="existing")) -> State[Any]:  # noqa: B008 - frozen, the form's default
    """Validate a mesh that exists, measure it, compare it with earlier nights, and tell people what got worse.

    Args:
        config: What is wanted of the run; the cluster must be `existing`.
    """
    judge_provider(config)
    run, _ = begin_run(config, "nightly-validation")
    made, stopped = Made(), None
    try:
        if on_its_way_out(run):
            remember(run, made)  # cut off while it removed what it had made, it goes on there
        else:
            prove(run, config, made)
    except Exception as problem:  # noqa: BLE001 - whatever broke, what was applied is removed
        note_failure(run, problem)
    except BaseException as problem:
        stopped = stop_of(run, problem)
        raise
    finally:
        with signals_wait():
            halt_load(run)
            take_down(run, config, made, stopped=stopped)
            state = end_run(run, config, signum=stopped)
            if stopped is None:
                attempt(tell_people, run, config)  # reads the run from the history, so it comes last
    return state


def prove(run: RunRef, config: LabConfig, made: Made) -> None:
    """From a namespace of our own to the last proof; `made` tells what was applied."""
    skip_beyond_scope(run, config)
    cluster = made.cluster = start_cluster(run, config)
    istio = made.istio = find_istio(run, config, cluster)
    made.mesh = install_istio(run, config, cluster, istio)  # uses the one that is there
    made.labelled = enable_injection(run, config, cluster)
    announced, made.tracing = announce_tracing(run, config, cluster, istio)
    bookinfo = deploy_bookinfo.submit(run, config, cluster, istio)
    parties = deploy_parties.submit(run, config, cluster, istio)
    outside = deploy_outside.submit(run, config, cluster, istio)
    prometheus = deploy_prometheus.submit(run, config, cluster, istio)
    jaeger = deploy_jaeger.submit(run, config, cluster, istio)
    made.objects = [*announced, *applied(prometheus, bookinfo, parties, outside, jaeger)]
    pages = [task.submit(run, config, cluster, istio) for task in (deploy_grafana, deploy_kiali)]
    bookinfo.result(), parties.result()  # nothing goes without them
    check_cluster(run, config, cluster, istio)
    check_istio(run, config, cluster, istio)
    check_app(run, config, cluster)
    made.objects += applied(*pages)  # where their images can be had

    before = count_requests(run, config, cluster)  # from here on no mesh configuration changes
    phase = begin_phase(run, config, cluster)
    start_mixed(run, config, cluster)
    fast = generate_load(run, config, cluster, "fast")
    check_prometheus(run, config, cluster, before)
    check_dashboards(run, config, cluster, istio)
    sent_fast = stop_load(run, fast, "fast")
    gentle = generate_load(run, config, cluster, "gentle")
    check_rate(run, config, cluster)
    check_graph(run, config, cluster, istio, phase)
    check_traces(run, config, cluster, phase)
    attempt(measure_proxies, run, config, cluster)
    sent_gentle = stop_load(run, gentle, "gentle")
    stop_mixed(run)
    reconcile_requests(run, config, cluster, before, [sent_fast, sent_gentle])
    attempt(compare_paths, run, config, cluster)  # when nothing else is sent

    strict = begin_strict(run, config, cluster, istio)  # plaintext is measured before it is forbidden
    check_mtls(run, config, cluster, strict)
    check_authz(run, config, cluster, istio)
    check_edge(run, config, cluster, istio)
    check_audit(run, config, cluster, istio)
    end_strict(run, config, cluster, strict)

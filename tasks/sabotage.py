"""Faults planted one at a time: rounds of checks without and with them, what became of each, and the catch matrix."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from prefect import Task

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.core.process import SystemRunner
from meshlab.core.signals import signals_wait
from meshlab.faults import faults as catalogue
from meshlab.faults.fault import GROUPS, NO_FAULT, STRICT, Edge, Fault
from meshlab.faults.firewall import Firewall
from meshlab.faults.planters import object_of
from meshlab.faults.planting import firewall_of, plant, remove
from meshlab.faults.settle import start_anew, wait_settled
from meshlab.faults.verdict import catch_of, control, crashed, judge, unproven
from meshlab.istio.distribution import Distribution
from meshlab.kube import fingerprint
from meshlab.kube.changes import restore_left
from meshlab.lifecycle.context import begin_context, context_of, istioctl_of, kube_of, mesh_of
from meshlab.report.causes import place_of, places_tried
from meshlab.run.journal import RunRef, begin, now, read_journal, record, record_check, skip_step, step
from meshlab.run.ledger import Entry
from meshlab.run.result_file import summarise
from tasks.audit import check_audit
from tasks.authorization import check_authz
from tasks.causes import SABOTAGE
from tasks.common import lab_task, log_info
from tasks.dashboards_and_traces import begin_phase, check_dashboards, check_graph, check_traces
from tasks.edge import check_egress, check_gateway, check_ingress
from tasks.mesh_checks import check_app, check_cluster, check_istio
from tasks.observability import check_prometheus, count_requests, reconcile_requests
from tasks.security import begin_strict, check_mtls, end_strict
from tasks.teardown import attempt
from tasks.traffic import (
    generate_load,
    halt_load,
    start_background_traffic,
    stop_background_traffic,
    stop_load,
)

Checks = Mapping[str, Mapping[str, Any]]  # id → the check as `result.json` holds it
BASELINE, CONTROL = "baseline", "control"
# Of the rounds: a shorter and denser load, and deadlines after which a missing answer is one.
LOAD_SECONDS, LOAD_INTERVAL, ANSWER_TIMEOUT, SYNC_TIMEOUT = 6, 0.1, 20, 15
DASHBOARDS_TIMEOUT = 60  # seconds; rates need a minute of a Prometheus that was started again


@dataclass(frozen=True)
class Lab:
    """The lab in which faults are planted: all that the checks need to know of it."""

    config: LabConfig
    cluster: ClusterRef
    istio: Distribution
    edge: Edge = NO_FAULT


def plan(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    istio: Distribution,
    only: Sequence[str],
    *,
    stays: str = "",
) -> tuple[Lab, tuple[Fault, ...]]:
    """Choose the faults that can be planted in this lab; of the others it is recorded why not.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        istio: Istio's istioctl and samples.
        only: Names of the faults; all where empty.
        stays: Why the run leaves the lab up; "" where it takes it down.

    Returns:
        The lab as the rounds look at it, and the faults.
    """
    chosen = []
    for fault in catalogue.choose(only):
        if why := catalogue.why_not(fault, config, stays=stays):
            place = "in a lab that the run makes and removes" if fault.last else "on a local cluster"
            record_check(run, unproven(fault, why, skipped=True, remedy=f"plant it {place}"))
            skip_step(run, f"fault-{fault.name}", why)
        else:
            chosen.append(fault)
    return Lab(rounds_config(config), cluster, istio), tuple(chosen)


def rounds_config(config: LabConfig) -> LabConfig:
    """The settings of the rounds: as asked for, but for the load's numbers and the deadlines."""
    sections: dict[str, dict[str, Any]] = {
        "traffic": {"fast_seconds": LOAD_SECONDS, "fast_interval": LOAD_INTERVAL},
        "prometheus": {"answer_timeout": min(ANSWER_TIMEOUT, config.prometheus.answer_timeout)},
        "istio": {"install_timeout": SYNC_TIMEOUT},
    }
    return changed(config, sections)


def changed(config: LabConfig, sections: Mapping[str, Mapping[str, Any]]) -> LabConfig:
    """Change some values of some sections of the settings.

    Args:
        config: The settings.
        sections: Section → field → value.

    Returns:
        The changed settings.
    """
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )


def hold_control(run: RunRef, lab: Lab, faults: Sequence[Fault], name: str) -> bool:
    """Make a round without a fault.

    Where something in it is not green an infra-error is recorded: nothing would be proven.

    Args:
        run: The run.
        lab: The lab.
        faults: Whose checks are made.
        name: `baseline` or `control`.

    Returns:
        Whether all was green.
    """
    groups = [group for group in GROUPS if any(group in fault.groups for fault in faults)]
    title = {
        BASELINE: "Before any fault all checks that are used are green",
        CONTROL: "After the last fault they are green again",
    }[name]
    with step(run, f"round-{name}"), told(run, f"sabotage.{name}", title):
        began = time.monotonic()
        probe_run = begin_round(run, lab, name)
        try:
            checks = check_groups(probe_run, lab, groups)
        finally:
            end_round(probe_run, lab)
        expected = [check for group in groups for check in GROUPS[group]]
        verdict = control(name, title, groups, checks, expected, seconds=time.monotonic() - began)
        record_check(run, verdict)
    return verdict.verdict == "pass"


@contextmanager
def told(run: RunRef, check_id: str, title: str, scope: str = "observe") -> Iterator[None]:
    """Whatever ends the block, its check is there: an infra-error with the cause."""
    try:
        yield
    except Exception as problem:
        record_check(run, crashed(check_id, title, scope, problem))
        raise


def prove(run: RunRef, lab: Lab, fault: Fault) -> bool:
    """Plant one fault, make its checks, take it out, and judge.

    Args:
        run: The run.
        lab: The lab.
        fault: The fault.

    Returns:
        False when the lab is not as it was before.
    """
    with step(run, f"fault-{fault.name}"), told(run, fault.check_id, fault.title, fault.scope):
        began = time.monotonic()
        before = inventory_of(run, lab)
        checks: Checks = {}
        probe_run = begin_round(run, lab, fault.name)
        planted = None
        try:
            planted = plant_fault(probe_run, run, lab, fault, return_state=True)
            if planted.is_completed():
                config = changed(lab.config, {"app": {"page_requests": fault.pages}})
                checks = check_groups(probe_run, replace(lab, config=config, edge=fault.edge), fault.groups)
        finally:
            with signals_wait():
                left = take_out(probe_run, run, lab, before)
                end_round(probe_run, lab)
        if planted.is_completed():
            catch = catch_of(fault, checks, restored=not left).as_json()
            record(run, {"event": "catch", **catch, **_culprit(probe_run, fault, lab.config.namespace)})
            record_check(run, judge(fault, checks, left, seconds=time.monotonic() - began))
        else:
            problem = planted.result(raise_on_failure=False)
            why = [getattr(problem, "message", str(problem))]
            why += [f"the lab is not as it was: {'; '.join(left)}"] if left else []
            remedy = getattr(problem, "remedy", "")
            record_check(run, unproven(fault, "; ".join(why), remedy=remedy))
    return not left


def _culprit(probe_run: RunRef, fault: Fault, namespace: str) -> dict[str, Any]:
    """At which place the causes of the round name the planted object, in each way; nothing where the fault is no object."""
    planted = object_of(fault, namespace)
    if planted is None:
        return {}
    result, _ = summarise(probe_run, optional=(), signum=None)
    rank = place_of(result.get("causes", ()), planted)
    return {"culprit_rank": rank, "culprit_ranks": places_tried(read_journal(probe_run), planted)}


@lab_task("plant")
def plant_fault(probe_run: RunRef, run: RunRef, lab: Lab, fault: Fault) -> None:
    """Plant a fault; returns when it is in force."""
    ledger, istioctl = context_of(run).ledger, istioctl_of(lab.cluster, lab.istio)
    mesh = mesh_of(run, lab.cluster)
    plant(fault, lab.config, kube_of(lab.cluster), istioctl, mesh, ledger, run, _firewall(run, lab))
    log_info(f"planted: {fault.title}")


@lab_task("take-out")
def remove_fault(probe_run: RunRef, run: RunRef, lab: Lab) -> None:
    """Take out what is planted, and what a stage of the round could not put back under it.

    Returns when the lab has come to rest.
    """
    kube, istioctl = kube_of(lab.cluster), istioctl_of(lab.cluster, lab.istio)
    mesh = mesh_of(run, lab.cluster)
    done = remove(kube, istioctl, context_of(run).ledger, mesh, _firewall(run, lab))
    stages = restore_left(kube, context_of(probe_run).ledger)
    if stages:
        done = (*done, *map(str, stages))
        wait_settled(kube, istioctl, mesh)
    log_info(f"taken out: {', '.join(done) or 'nothing'}")


def take_out(probe_run: RunRef, run: RunRef, lab: Lab, before: Mapping[str, str]) -> tuple[str, ...]:
    """Take out the fault, and tell in what the lab differs from before it.

    Args:
        probe_run: The round.
        run: The run.
        lab: The lab.
        before: Object → digest, from before the fault.

    Returns:
        The differences.
    """
    removed = remove_fault(probe_run, run, lab, return_state=True)
    if not removed.is_completed():
        problem = removed.result(raise_on_failure=False)
        return (f"taking it out failed: {getattr(problem, 'message', problem)}",)
    try:
        return fingerprint.difference(before, inventory_of(run, lab))
    except MeshlabError as problem:
        return (f"the inventory can't be taken: {problem.message}",)


def inventory_of(run: RunRef, lab: Lab) -> dict[str, str]:
    """Every object that a fault may change, and the firewall rules of ours, as digests."""
    firewall = _firewall(run, lab)
    rules = firewall.rules() if firewall else ()
    return {**fingerprint.take(kube_of(lab.cluster)), **dict.fromkeys(rules, "rule")}


def _firewall(run: RunRef, lab: Lab) -> Firewall | None:
    context = context_of(run)
    return firewall_of(lab.config, context.machine, SystemRunner(), context.ledger)


# ── rounds: each has a journal of its own below the run's evidence, so that its red checks are not the run's


def begin_round(run: RunRef, lab: Lab, name: str) -> RunRef:
    """A run below the run: with its own journal, evidence and ledger."""
    probe_run = RunRef(f"{run.run_id}.{name}", run.evidence / "rounds" / name, SABOTAGE, now())
    begin(probe_run)
    begin_context(probe_run, lab.config, context_of(run).machine)
    if lab.config.cluster == "local":  # what removes the cluster closes this ledger, too
        context_of(probe_run).ledger.intend(Entry("cluster", lab.cluster.name, "local"))
    return probe_run


def end_round(probe_run: RunRef, lab: Lab) -> None:
    """End what still sends, and close the round's ledger."""
    halt_load(probe_run)
    ledger = context_of(probe_run).ledger
    ledger.gone(Entry("cluster", lab.cluster.name, "local"))
    ledger.close()


def check_groups(probe_run: RunRef, lab: Lab, groups: Iterable[str]) -> Checks:
    """Make each group's checks, whatever became of the others."""
    for group in (group for group in groups if group not in STRICT):
        MAKERS[group](probe_run, lab)
    strict = [group for group in groups if group in STRICT]
    if strict:
        _under_strict(probe_run, lab, strict)
    return checks_of(probe_run, lab)


def checks_of(run: RunRef, lab: Lab) -> Checks:
    """What a run or a round has made so far.

    Args:
        run: It.
        lab: The lab.

    Returns:
        Id → the check as `result.json` holds it.
    """
    result, _ = summarise(run, optional=lab.config.checks.optional, signum=None)
    return {check["id"]: check for check in result["checks"]}


def _under_strict(probe_run: RunRef, lab: Lab, groups: Sequence[str]) -> None:
    """Groups that are made while mutual TLS is demanded, as in the full lab."""
    strict = attempt(begin_strict, probe_run, lab.config, lab.cluster, lab.istio)
    if strict is None:
        return
    try:
        if "mtls" in groups:
            attempt(check_mtls, probe_run, lab.config, lab.cluster, strict)
        for group in (group for group in groups if group in MAKERS):
            MAKERS[group](probe_run, lab)
    finally:
        attempt(end_strict, probe_run, lab.config, lab.cluster, strict)


def _load(probe_run: RunRef, lab: Lab) -> None:
    """A load phase of its own: what earlier ones have counted is in its baseline."""
    config, cluster = lab.config, lab.cluster
    before = attempt(count_requests, probe_run, config, cluster)
    phase = attempt(begin_phase, probe_run, config, cluster)
    if before is None:
        return
    load = generate_load(probe_run, config, cluster, "fast")
    queries = check_prometheus.submit(probe_run, config, cluster, before)
    traces = check_traces.submit(probe_run, config, cluster, phase)
    attempt(check_graph, probe_run, config, cluster, lab.istio, phase)
    queries.wait()
    traces.wait()
    try:
        sent = stop_load(probe_run, load, "fast")
    except MeshlabError as problem:
        # Its step says so, and the checks that need it are not made.
        log_info(f"the load failed: {problem.message}")
        return
    attempt(reconcile_requests, probe_run, config, cluster, before, [sent])


def _grafana(probe_run: RunRef, lab: Lab) -> None:
    """Dashboards are asked under all of the lab's traffic, as in the full lab, of proxies that remember no fault."""
    config = changed(lab.config, {"prometheus": {"answer_timeout": DASHBOARDS_TIMEOUT}})
    try:
        kube, istioctl = kube_of(lab.cluster), istioctl_of(lab.cluster, lab.istio)
        with step(probe_run, "start-anew"):
            start_anew(kube, istioctl, mesh_of(probe_run, lab.cluster))
        start_background_traffic(probe_run, config, lab.cluster)
        load = generate_load(probe_run, config, lab.cluster, "fast")
        attempt(check_dashboards, probe_run, config, lab.cluster, lab.istio)
        stop_load(probe_run, load, "fast")
        stop_background_traffic(probe_run)
    except MeshlabError as problem:
        log_info(f"the traffic failed: {problem.message}")  # its step says so


def _edge(check: Task[..., Any], alter: str) -> Callable[[RunRef, Lab], object]:
    """Make the checks of a way in, with what the fault makes of its objects and certificates."""
    return lambda run, lab: attempt(
        check, run, lab.config, lab.cluster, lab.istio, getattr(lab.edge, alter), lab.edge.lifetime
    )


MAKERS: Mapping[str, Callable[[RunRef, Lab], object]] = {
    "cluster": lambda run, lab: attempt(check_cluster, run, lab.config, lab.cluster, lab.istio),
    "app": lambda run, lab: attempt(check_app, run, lab.config, lab.cluster),
    "istio": lambda run, lab: attempt(check_istio, run, lab.config, lab.cluster, lab.istio),
    "load": _load,
    "grafana": _grafana,
    "authz": lambda run, lab: attempt(check_authz, run, lab.config, lab.cluster, lab.istio),
    "ingress": _edge(check_ingress, "ingress"),
    "gateway": _edge(check_gateway, "gateway"),
    "egress": lambda run, lab: attempt(
        check_egress, run, lab.config, lab.cluster, lab.istio, lab.edge.egress
    ),
    "audit": lambda run, lab: attempt(check_audit, run, lab.config, lab.cluster, lab.istio),
}

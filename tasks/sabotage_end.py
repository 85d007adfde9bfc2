"""The end of a sabotage: faults that are planted while the lab is removed, those that never were, and the matrix."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from meshlab.clusters.base import Leftovers
from meshlab.config.settings import LabConfig
from meshlab.core.process import SystemRunner
from meshlab.faults.fault import Fault, Site
from meshlab.faults.held_mount import HeldMount, held_mount_of
from meshlab.faults.planting import put_back
from meshlab.faults.verdict import catch_of, judge, told_of_it, unproven
from meshlab.kube.changes import Changes, not_asked_to_go
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.report.catches import rows
from meshlab.run.journal import RunRef, record, record_check, report_progress, skip_step, step
from meshlab.run.result_file import summarise
from tasks.cluster import check_teardown
from tasks.common import lab_task, log_info
from tasks.istio import check_uninstall, uninstall_istio
from tasks.report import publish_table
from tasks.sabotage import Checks, Lab, begin_round, checks_of, end_round, told
from tasks.teardown import BeforeRemoval, CreatedResources, attempt, outcome

# Seconds. An uninstall is done in ten; one that a finalizer holds shall not cost its three minutes.
UNINSTALL_TIMEOUT, LEFT_TIMEOUT, GONE_TIMEOUT = 20.0, 6.0, 3.0
Inventory = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Proof:
    """What was seen of one such fault. left: how the lab is not as it was, now that it is taken out."""

    fault: Fault
    checks: Checks
    left: tuple[str, ...]
    seconds: float


@dataclass
class LastFaults:
    """Faults that are planted while the lab is removed; filled by the flow as it goes.

    lab: None as long as none shall be planted. waiting: those still to be planted. proofs: of the others.
    """

    lab: Lab | None = None
    waiting: list[Fault] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)

    def before_removal(self, run: RunRef) -> BeforeRemoval:
        """What is to be done before the lab's parts are removed: plant, remove, look, and take out again.

        Args:
            run: The run.

        Returns:
            It, for `take_down`.
        """

        def uninstall(there: Inventory) -> None:
            self._prove(run, "uninstall", lambda lab, round_: try_uninstall(round_, lab, dict(there)))

        def cluster(there: Leftovers) -> None:
            self._prove(run, "teardown", lambda lab, round_: try_removal(round_, run, lab, there))

        return BeforeRemoval(uninstall, cluster)

    def _prove(self, run: RunRef, group: str, make: Callable[[Lab, RunRef], object]) -> None:
        if self.lab is None:
            return
        for fault in [each for each in self.waiting if group in each.groups]:
            self.waiting.remove(fault)
            try:
                proof = prove_last(run, self.lab, fault, make)
            except Exception as problem:  # noqa: BLE001 - its step and its check tell it; the removal goes on
                log_info(f"{fault.name} was not proven: {problem}")
            else:
                self.proofs += [proof] if proof is not None else []


def why_it_stays(config: LabConfig, created: CreatedResources) -> str:
    """Say why a run does not take its lab down; "" where it does.

    Args:
        config: The settings of the run.
        created: What it made, or found up.

    Returns:
        The reason.
    """
    if not config.ours:
        return "the cluster is not ours"
    return created.found_up or ("--keep was given" if config.keep else "")


def prove_last(run: RunRef, lab: Lab, fault: Fault, make: Callable[[Lab, RunRef], object]) -> Proof | None:
    """Plant one fault, try the removal that it is in the way of, look what is left, and take the fault out.

    Args:
        run: The run.
        lab: The lab.
        fault: The fault.
        make: Tries the removal and makes its check, in a round of its own.

    Returns:
        What was seen; None where it could not be planted, which is recorded.
    """
    with step(run, f"fault-{fault.name}"), told(run, fault.check_id, fault.title, fault.scope):
        began = time.monotonic()
        checks: Checks = {}
        ledger = context_of(run).ledger
        before = ledger.entries()
        mount = held_mount_of(lab.config, context_of(run).machine, SystemRunner(), ledger)
        round_ = begin_round(run, lab, fault.name)
        try:
            _, why = outcome(plant_last, round_, run, lab, fault, mount)
            planted = [each for each in ledger.entries() if each not in before]
            if not why:
                make(lab, round_)
                untouched = not_asked_to_go(kube_of(lab.cluster), planted)
                checks = told_of_it(checks_of(round_, lab), [each.name for each in planted], untouched)
        finally:
            _, stuck = outcome(take_out_last, round_, run, lab, mount)
            end_round(round_, lab)
        left = (f"taking it out failed: {stuck}",) if stuck else ()
        if why:
            reason = "; ".join([why, *left])
            record_check(run, unproven(fault, reason, remedy="the round's own journal tells more"))
            return None
        return Proof(fault, checks, left, time.monotonic() - began)


@lab_task("plant")
def plant_last(round_: RunRef, run: RunRef, lab: Lab, fault: Fault, mount: HeldMount | None) -> None:
    """Plant a fault of the removal; nothing has to come to rest for it."""
    kube, ledger = kube_of(lab.cluster), context_of(run).ledger
    istioctl, mesh = istioctl_of(lab.cluster, lab.istio), mesh_of(run, lab.cluster)
    fault.plant(Site(kube, istioctl, lab.config, Changes(kube, ledger, run), mesh, mount=mount))
    log_info(f"planted: {fault.title}")


@lab_task("take-out")
def take_out_last(round_: RunRef, run: RunRef, lab: Lab, mount: HeldMount | None) -> None:
    """Take out what is planted, by the ledger. The API server may be gone: it is asked for its own objects only."""
    done = put_back(kube_of(lab.cluster), context_of(run).ledger, None, mount)
    log_info(f"taken out: {', '.join(done) or 'nothing'}")


def try_uninstall(round_: RunRef, lab: Lab, there: dict[str, tuple[str, ...]]) -> None:
    """Uninstall Istio under the fault, for a short while, and look what is left.

    Args:
        round_: The round.
        lab: The lab.
        there: What was there of Istio.
    """
    config, cluster = lab.config, lab.cluster
    tried = outcome(uninstall_istio, round_, config, cluster, lab.istio, there, UNINSTALL_TIMEOUT)
    attempt(check_uninstall, round_, config, cluster, there, *tried, LEFT_TIMEOUT)


def try_removal(round_: RunRef, run: RunRef, lab: Lab, there: Leftovers) -> None:
    """Remove the cluster under the fault, and look what is left.

    Args:
        round_: The round.
        run: The run, which holds the cluster.
        lab: The lab.
        there: What was there of the cluster.
    """
    attempt(remove_under_fault, round_, run)
    attempt(check_teardown, round_, lab.config, there, GONE_TIMEOUT)


@lab_task("remove-cluster")
def remove_under_fault(round_: RunRef, run: RunRef) -> None:
    """Take the cluster down as the run will; its ledger keeps it."""
    context_of(run).provider.down(progress=report_progress)


def judge_last(run: RunRef, last: LastFaults) -> None:
    """Say of the faults of the removal what became of them, now that the lab is removed without them.

    As it was before the fault, here, is that the same check of the run's own removal passed.

    Args:
        run: The run.
        last: The faults.
    """
    if last.lab is None:
        return
    after = checks_of(run, last.lab)
    for proof in last.proofs:
        fault, left = proof.fault, list(proof.left)
        for check_id in fault.must:
            check = after.get(check_id, {"verdict": "not made", "summary": "the removal did not come to it"})
            if check["verdict"] != "pass":
                left.append(f"{check_id} is {check['verdict']} without it, too: {check['summary']}")
        record(run, {"event": "catch", **catch_of(fault, proof.checks, restored=not left).as_json()})
        record_check(run, judge(fault, proof.checks, left, seconds=proof.seconds))
    asked = last.lab.config.keep_on_failure  # then the lab of a run that failed stays, and that is no fault
    why = "--keep-on-failure was given, and the run failed" if asked else "the removal did not come to it"
    not_planted(run, last.waiting, why, asked_for=asked)


def not_planted(run: RunRef, faults: Iterable[Fault], why: str, *, asked_for: bool = False) -> None:
    """Record of faults that were to be planted why they were not.

    Args:
        run: The run.
        faults: The faults.
        why: The reason.
        asked_for: A setting wants it so: they are skipped.
    """
    for fault in faults:
        remedy = "mend what ended the run and run again"
        record_check(run, unproven(fault, why, skipped=asked_for, remedy=remedy))
        skip_step(run, f"fault-{fault.name}", why)


def publish_catches(run: RunRef) -> None:
    """The catch matrix as an artifact."""
    result, _ = summarise(run, optional=(), signum=None)
    catches = result["catches"]
    publish_table("catches", rows(catches), "Planted faults and the checks that they turned red")

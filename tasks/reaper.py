"""A teardown on its own: what a run left, or what has expired, is searched, removed, and searched again."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.checks.base import run_check
from meshlab.config.settings import LabConfig
from meshlab.core.errors import InputError, MeshlabError
from meshlab.lifecycle import teardown as reaping
from meshlab.lifecycle.context import context_of
from meshlab.lifecycle.teardown import Plan, Target
from meshlab.run.journal import RunRef, record, record_check, report_progress
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.report import publish_table


@lab_task("search")
def search(run: RunRef, config: LabConfig, runs: Sequence[str], expired: bool) -> Plan:
    """The clusters that are to go, by ledger, label and age; those of ours that stay are told too."""
    machine = context_of(run).machine
    found = reaping.problems(
        config, machine, runs, expired=expired
    )  # a worker starts the flow without a command line
    if found:
        raise InputError(found)
    plan = reaping.expired(config, machine) if expired else reaping.of_runs(config, machine, runs)
    rows = [{"cluster": each.said, "what": "to be removed"} for each in plan.targets]
    publish_table(
        "clusters", [*rows, *({"cluster": each, "what": "stays"} for each in plan.stay)], "Clusters of ours"
    )
    for text in (*plan.told, *(f"no answer for {each}" for each in plan.unanswered)):
        record(run, {"event": "warning", "text": text})
    for row in rows:
        log_info(f"{row['what']}: {row['cluster']}")
    return plan


@lab_task("remove")
def remove(run: RunRef, targets: Sequence[Target]) -> None:
    """Take every target down; one that can't go does not keep the others. Raises MeshlabError naming all that failed."""
    problems = []
    for target in targets:
        try:
            reaping.remove(target, context_of(run).machine, report_progress)
            log_info(f"removed: {target.said}")
        except MeshlabError as problem:
            problems.append((target, problem))
    if problems:
        told = "\n".join(f"{target.said}: {problem.message}" for target, problem in problems)
        remedies = "; ".join(dict.fromkeys(problem.remedy for _, problem in problems if problem.remedy))
        raise MeshlabError(told, remedy=remedies)


@lab_task("put-back")
def put_back(run: RunRef, config: LabConfig, runs: Sequence[str]) -> None:
    """What the runs changed on a cluster that is not ours. Raises MeshlabError naming what a ledger still holds."""
    machine = context_of(run).machine
    left = [
        f"{e.kind} {e.name} at {e.where}" for each in runs for e in reaping.put_back(config, machine, each)
    ]
    if left:
        raise MeshlabError(
            f"still in the ledger: {', '.join(left)}",
            remedy="for objects on a cluster that is not ours name it: --cluster existing --context NAME",
        )


@lab_task("check-teardown")
def check_gone(
    run: RunRef, config: LabConfig, plan: Plan, runs: Sequence[str], expired: bool, acted: bool
) -> CheckResult:
    """teardown.nothing-left: the same search finds nothing now; in a dry run, everything found is a finding."""
    machine = context_of(run).machine

    def again() -> Plan:
        return reaping.expired(config, machine) if expired else reaping.of_runs(config, machine, runs)

    return record_check(run, run_check(reaping.CHECK, lambda: reaping.nothing_left(plan, again, acted=acted)))

"""A teardown on its own: what a run left, or what has expired, is searched, removed, and searched again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from meshlab.checks.base import run_check
from meshlab.config.settings import LabConfig
from meshlab.core.errors import InputError, MeshlabError
from meshlab.lifecycle import teardown
from meshlab.lifecycle.context import context_of
from meshlab.lifecycle.teardown import Plan, Target
from meshlab.run.journal import RunRef, record, record_check, report_progress
from meshlab.run.results import CheckResult
from tasks.common import lab_task, log_info
from tasks.report import publish_table


@lab_task("search")
def search(run: RunRef, config: LabConfig, runs: Sequence[str], expired: bool) -> Plan:
    """Find the clusters that are to go, by ledger, label and age; those of ours that stay are told, too.

    Args:
        run: The run.
        config: The settings of the run.
        runs: Ids of runs.
        expired: Look for clusters past their time instead.

    Returns:
        What is to be removed, and what stays.

    Raises:
        InputError: What was asked for is wrong.
    """
    machine = context_of(run).machine
    # A worker starts the flow without a command line, which would have said so.
    found = teardown.problems(config, machine, runs, expired=expired)
    if found:
        raise InputError(found)
    plan = teardown.search(config, machine, runs, expired)
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
    """Take every target down; one that can't go does not keep the others from going.

    Args:
        run: The run.
        targets: What is removed.

    Raises:
        MeshlabError: Some stay; its text names each.
    """
    problems = []
    for target in targets:
        try:
            teardown.remove(target, context_of(run).machine, report_progress)
            log_info(f"removed: {target.said}")
        except MeshlabError as problem:
            problems.append((target, problem))
    if problems:
        told = "\n".join(f"{target.said}: {problem.message}" for target, problem in problems)
        remedies = "; ".join(dict.fromkeys(problem.remedy for _, problem in problems if problem.remedy))
        raise MeshlabError(told, remedy=remedies)


@lab_task("put-back")
def put_back(run: RunRef, config: LabConfig, runs: Sequence[str]) -> None:
    """Put back what the runs changed on a cluster that is not ours.

    Args:
        run: The run.
        config: The settings of the run.
        runs: Ids of runs.

    Raises:
        MeshlabError: A ledger still holds something; its text names it.
    """
    machine = context_of(run).machine
    left = [
        f"{e.kind} {e.name} at {e.where}" for each in runs for e in teardown.put_back(config, machine, each)
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
    """Make the check teardown.nothing-left: the same search finds nothing now.

    In a dry run everything found is a finding.

    Args:
        run: The run.
        config: The settings of the run.
        plan: What was found before.
        runs: Ids of runs.
        expired: Clusters past their time were looked for.
        acted: The targets were removed.

    Returns:
        The check.
    """
    again = partial(teardown.search, config, context_of(run).machine, runs, expired)
    return record_check(
        run, run_check(teardown.CHECK, lambda: teardown.nothing_left(plan, again, acted=acted))
    )

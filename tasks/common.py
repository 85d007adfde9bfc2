"""What every task of the lab shares: a step in the journal, retries for what may heal, logging, artifacts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError
from prefect.runtime import task_run

from meshlab.checks.base import run_check
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.child import UpChild
from meshlab.config.settings import LabConfig
from meshlab.core.cancellation import track
from meshlab.core.errors import MeshlabError
from meshlab.core.redaction import redact_exception
from meshlab.core.signals import raise_unanswered, signal_of
from meshlab.kube.applied import applying
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.lifecycle.resume import Verify
from meshlab.run.journal import RunRef, note_signal, record_check, step
from meshlab.run.results import CheckResult
from tasks.causes import note_causes
from tasks.resume import Keeping, any_value, kept_or_made

P = ParamSpec("P")
R = TypeVar("R")


def may_heal(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: only errors that say so themselves are tried again."""
    problem = state.result(raise_on_failure=False)
    return isinstance(problem, MeshlabError) and problem.retryable


def lab_task(
    name: str,
    *,
    retries: int = 0,
    verify: Verify | None = None,
    depends_on_pods: bool = False,
    records_objects: bool = False,
    in_process: bool = False,
    teardown: bool = False,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a Prefect task that is a step of the run's journal.

    The function's first parameter must be the RunRef.
    Steps have effects, so Prefect caches nothing; deadlines are those of the library's calls, because Prefect's
    own timeout does not interrupt a blocking call in a thread. A keyword argument `child` of a call (a process that was
    started earlier and does the work) sets the step's real begin.

    Args:
        name: The step's name in the journal, and the task's in Prefect.
        retries: How often Prefect tries it again, for errors that say that this may help.
        verify: Verifies a result that a run which was cut off has kept; None where the step always runs again.
        depends_on_pods: The result is of use only while the pods that it looked at are the same.
        records_objects: The step applies manifests, given (run, config, cluster, …): on a cluster that stays, each
            object is in the ledger first.
        in_process: The result belongs to this process; a run that goes on has None instead.
        teardown: The step removes what the run made; its result is of use to a run that was cut off while it did.

    Returns:
        A decorator that makes the task.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        keeping = Keeping(function, verify or any_value, depends_on_pods, in_process, teardown)

        @functools.wraps(function)
        def as_step(*args: P.args, **kwargs: P.kwargs) -> R:
            run = args[0]
            assert isinstance(run, RunRef)
            child = kwargs.get("child")
            began = child.began if isinstance(child, UpChild) else None
            with track(run.run_id, name), step(run, name, attempt=task_run.run_count or 1, began=began):
                try:
                    raise_unanswered()
                    with noted(run, args) if records_objects else nullcontext():
                        if verify is None and not teardown:
                            made = function(*args, **kwargs)
                        else:
                            work = functools.partial(function, *args, **kwargs)
                            made = cast(R, kept_or_made(run, name, args, work, keeping))
                    note_causes(run, name, args)
                    return made
                except BaseException as problem:
                    if isinstance(problem, Exception):
                        redact_exception(problem)  # Prefect's server keeps it
                    elif (signum := signal_of(problem)) is not None:
                        note_signal(run, signum)  # before Prefect's engine has it, which may lose it
                    raise

        return Task(
            as_step,
            name=name,
            retries=retries,
            retry_delay_seconds=2,
            cache_policy=NO_CACHE,
            retry_condition_fn=may_heal if retries else None,
            persist_result=False,
        )

    return decorate


def noted(run: RunRef, args: tuple[Any, ...]) -> AbstractContextManager[None]:
    """Write whatever a step applies in this block into the ledger before it is applied.

    A cluster of ours goes with all that is in it, so nothing is written for it.

    Args:
        run: The run.
        args: What the step was given: run, config, cluster, ….

    Returns:
        A context manager around the step's work.
    """
    config, cluster = args[1:3]
    assert isinstance(config, LabConfig) and isinstance(cluster, ClusterRef)
    return nullcontext() if config.ours else applying(kube_of(cluster), context_of(run).ledger)


def make_checks(
    run: RunRef, checks: Mapping[str, Callable[[], CheckResult]], *, granted: str = "mesh"
) -> list[CheckResult]:
    """Make checks one after the other, and write each down.

    Args:
        run: The run.
        checks: Id → makes the check.
        granted: The write scope of the run; a check that needs more is skipped.

    Returns:
        The checks.
    """
    return [record_check(run, run_check(name, make, granted=granted)) for name, make in checks.items()]


def log_info(message: str) -> None:
    """Log to the Prefect run, where there is one."""
    try:
        get_run_logger().info(message)
    except MissingContextError:
        return

"""The run's own begin and end: directory and ledger, evidence on failure, the result."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed, Crashed, Failed

from meshlab.checks.base import CHECKS, owed
from meshlab.cli.launch import Launch, prepared
from meshlab.cli.preflight import report_problems
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.child import UpChild
from meshlab.config.settings import LabConfig, Machine
from meshlab.core import registry
from meshlab.core.attempt import attempt
from meshlab.core.errors import InputError, KubeError, MeshlabError, WaitTimeout
from meshlab.core.redaction import guard_logging, redact, redact_exception
from meshlab.core.signals import (
    answer_signals,
    raise_unanswered,
    signal_of,
    signals_raise,
    signals_wait,
    unanswered_signal,
)
from meshlab.core.text import pluralize
from meshlab.history.keep import keep_run, runs_until
from meshlab.history.trend import changed_since_green, trend_section
from meshlab.istio.mesh import Mesh
from meshlab.kube.apply import ObjectRef
from meshlab.kube.evidence import dump_evidence
from meshlab.lifecycle.context import begin_context, context_of, kube_of, mesh_of
from meshlab.lifecycle.resume import keep_config
from meshlab.report.authz import matrix_rows
from meshlab.report.gathered import material_of
from meshlab.report.html import write_report
from meshlab.report.publish import publish, published_at
from meshlab.run.journal import (
    RunRef,
    create,
    fail_step,
    note_end,
    note_signal,
    noted_signal,
    record,
    record_check,
    record_facts,
)
from meshlab.run.ledger import Ledger
from meshlab.run.orphans import end_servers, orphans
from meshlab.run.result_file import WRITE_STEP, finish, summarise
from meshlab.run.results import NOT_MADE, CheckResult, Verdict
from meshlab.shared_cluster.lock import acquire_lease, release_lease
from tasks.common import lab_task
from tasks.pictures import drawn_of, publish_pictures
from tasks.report import flush_artifacts, publish_result
from tasks.secrets import hold_credentials

log = logging.getLogger(__name__)


def begin_run(
    config: LabConfig, flow: str = "full-lab", *, holds: bool = True
) -> tuple[RunRef, UpChild | None]:
    """Take the run that the command line has prepared, or begin a new one.

    A new one where a worker starts the flow: nothing is prepared then, and no cluster comes up yet.

    Args:
        config: The settings of the run.
        flow: The flow's name.
        holds: Hold the cluster's Lease. A teardown does not: it would wait for the Lease of the very run
            that it is for.

    Returns:
        The run, and the process that brings its cluster up, if one was started.

    Raises:
        InputError: Reports can't be published where the settings say; the command line says it earlier.
    """
    guard_logging()
    launch = prepared()
    try:
        if launch is not None:
            signals_raise()  # in place of Prefect's handler of SIGTERM, which a worker's cancellation alone needs
        return _begin_run(config, flow, launch, holds=holds), launch.child if launch is not None else None
    except BaseException:
        if launch is not None:
            registry.put(
                launch
            )  # what it has started is not in the flow's hands yet: the command line ends it
        raise


def _begin_run(config: LabConfig, flow: str, launch: Launch | None, *, holds: bool) -> RunRef:
    if launch is None and holds:  # what only removes is not kept from it
        judge_publishing(config)
    machine = launch.machine if launch is not None else Machine.here()
    mark_orphans_crashed(machine)
    run = launch.run if launch is not None else create(config.runs_dir, flow)
    if launch is None:
        keep_config(run, config)
    ledger = begin_context(run, config, machine).ledger
    if config.cluster == "existing":
        hold_credentials(machine)
    try:
        if holds:
            acquire_lease(config, machine, run.run_id)  # the command line has done so already
    except (KubeError, WaitTimeout) as problem:
        log.info("the cluster can't be held, which its start will say: %s", problem.message)
    if flow_run.id is not None:
        mark_crashed(ledger)  # the one of a run that was killed, and goes on
        ledger.note_flow_run(str(flow_run.id))
    return run


def judge_publishing(config: LabConfig) -> None:
    """Refuse a place for reports that can't be written. Raises InputError."""
    if config.report.publish is not None and (problems := report_problems(config.report.publish)):
        raise InputError(problems)


def mark_orphans_crashed(machine: Machine) -> None:
    """Mark the flow runs of killed runs Crashed: Prefect itself leaves them RUNNING for good, and its server."""
    end_servers()
    for ledger in orphans(machine):
        if ledger.flow_run is not None and mark_crashed(ledger) and not ledger.entries():
            ledger.close()


def mark_crashed(ledger: Ledger) -> bool:
    """Mark the flow run that a ledger names Crashed, where it has not ended; returns whether Prefect could be told."""
    dead = ledger.flow_run
    if dead is None:
        return True
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(dead)).state
            if state is None or not state.is_final():
                client.set_flow_run_state(UUID(dead), Crashed(message="its process was killed"), force=True)
    except ObjectNotFound:
        log.info("the flow run %s of run %s is on another server", dead, ledger.run_id)
    except (httpx.HTTPError, PrefectException) as problem:
        log.warning("the flow run of the killed run %s could not be marked: %s", ledger.run_id, problem)
        return False
    return True


def applied(*futures: PrefectFuture[tuple[ObjectRef, ...]]) -> list[ObjectRef]:
    """Wait for all, so that none goes on unseen, and collect what those that went well have applied."""
    refs: list[ObjectRef] = []
    for future in futures:
        future.wait()
        if future.state.is_completed():
            refs += future.result()
    return refs


def stop_of(run: RunRef, problem: BaseException) -> int | None:
    """Write down what ended the run from outside, and return its signal; None where it was no signal."""
    signum = signal_of(problem)
    if signum is not None:
        note_signal(run, signum)
    else:
        why = "was told to exit, as when the Prefect worker that started it is gone"
        fail_step(run, "flow", f"the run's process {why} ({type(problem).__name__})")
    return signum


@lab_task("dump-evidence")
def collect_evidence(run: RunRef, config: LabConfig, cluster: ClusterRef | None) -> list[Path]:
    """What helps to understand a failure, before anything is taken down: pods, events, logs, proxy configuration."""
    found = list(context_of(run).provider.collect_logs(run.evidence / "cluster"))
    if cluster is not None:
        mesh = attempt(lambda: mesh_of(run, cluster))
        named = Mesh(config.namespace) if isinstance(mesh, MeshlabError) else mesh
        found += dump_evidence(kube_of(cluster), named.namespaces, run.evidence / "kubernetes")
    return found


def note_failure(run: RunRef, problem: Exception) -> int | None:
    """Write down what ended the main part of the run. A task's failure is a step's already; this keeps the traceback.

    Returns:
        The signal that the failure stands for, None where it is a failure of its own.
    """
    signum = signal_of(problem) or noted_signal(run) or unanswered_signal()
    if signum is not None:
        note_signal(run, signum)
        return signum
    redact_exception(problem)
    text = redact("".join(traceback.format_exception(problem)))
    try:
        (run.evidence / "failure.txt").write_text(text, encoding="utf-8")
    except OSError as full:
        log.error("the traceback can't be kept (%s):\n%s", full.strerror, text)
    record(run, {"event": "failure", "type": type(problem).__name__, "reason": str(problem)})
    return None


def fill_in(run: RunRef, config: LabConfig, expected: Iterable[str] | None = None) -> None:
    """Every expected check (all that are owed, where None) that was not made becomes an infra-error.

    It names the step on which the run failed.
    """
    result, _ = summarise(run, optional=config.checks.optional, signum=None)
    made = {check["id"] for check in result["checks"]}
    broke = next((step for step in result["steps"] if step["state"] == "failed"), None)
    why = f"step {broke['name']} failed, see there" if broke else "the run ended before it"
    wanted = owed(config) if expected is None else expected
    missing = [check_id for check_id in wanted if check_id not in made]
    if missing:
        record(run, {"event": "warning", "text": f"{pluralize(len(missing), 'checks')} not made: {why}"})
    for check_id in missing:
        spec = CHECKS[check_id]
        record_check(
            run,
            CheckResult(
                spec.id, spec.title, Verdict.INFRA_ERROR, NOT_MADE, spec.scope, reason=why,
                remedy="mend the step that failed and run again",
            ),
        )  # fmt: skip


def note_unpublished(run: RunRef) -> bool:
    """Publish what Prefect's server has not taken yet, and write down what it never took; returns whether there is any."""
    lost = flush_artifacts()
    for each in lost:
        record(run, {"event": "unpublished", "key": each.key, "reason": each.reason})
    if lost:
        keys = ", ".join(each.key for each in lost)
        text = f"Prefect's server never took the artifacts {keys}: {lost[0].reason}"
        record(run, {"event": "warning", "text": text})
    return bool(lost)


def run_to_end(
    run: RunRef,
    config: LabConfig,
    work: Callable[[], object],
    *,
    failed: Callable[[], object] = lambda: None,
    leave: Callable[[int | None], object] = lambda stopped: None,
) -> State[Any]:
    """Do a flow's work, then leave and write the result, whatever happened meanwhile.

    Args:
        run: The run.
        config: What was asked for.
        work: The flow's own part.
        failed: Called once `work` has failed.
        leave: Removes what `work` made, given the signal that ended the run, if one did.

    Returns:
        The flow's state: Completed where every check passed.
    """
    stopped = None
    try:
        work()
        raise_unanswered()
    except Exception as problem:  # noqa: BLE001 - told in the journal, and by the exit code
        stopped = note_failure(run, problem)
        answer_signals()
        failed()
    except BaseException as problem:
        stopped = stop_of(run, problem)
        answer_signals()
        raise
    finally:
        with signals_wait():
            leave(stopped)
            state = end_run(run, config, signum=stopped)
    return state


def publish_files(
    run: RunRef, config: LabConfig, names: Iterable[str] = ("report.html", "junit.xml", "result.json")
) -> bool:
    """Put files of the run where `report.publish` says. What fails is a warning: it says nothing about the mesh.

    Args:
        run: The run.
        config: The settings of the run.
        names: Of the files.

    Returns:
        Whether they are there, which the journal then says.
    """
    address = config.report.publish
    if address is None:
        return False
    try:
        publish(run.directory, names, address, run.run_id)
    except MeshlabError as problem:
        text = f"the report is not published at {address}: {problem.message}"
        log.warning(text)
        record(run, {"event": "warning", "text": text})
        return False
    record_facts(run, published=published_at(address, run.run_id))
    return True


def end_run(run: RunRef, config: LabConfig, *, signum: int | None = None) -> State[Any]:
    """Write result.json and junit.xml, publish what Prefect shows, close the ledger; returns the flow's state."""
    release_lease(run.run_id)
    code, result = finish(run, optional=config.checks.optional, signum=signum)
    drawn = drawn_of(run)
    keep_run(run, config, context_of(run).machine, result)
    earlier = runs_until(run, config, context_of(run).machine)
    trend = trend_section(earlier)
    try:
        write_report(
            result,
            run.directory,
            drawn,
            [trend] if trend else [],
            changed=changed_since_green(earlier),
        )
    except OSError as problem:
        fail_step(run, WRITE_STEP, f"the report can't be written: {problem.strerror or problem}")
        code, result = finish(run, optional=config.checks.optional, signum=signum)
    if publish_files(run, config):
        code, result = finish(run, optional=config.checks.optional, signum=signum)
        keep_run(run, config, context_of(run).machine, result)
        publish_files(run, config, ("result.json",))
    if signum is None:
        rules = material_of(run).authorization
        publish_result(result, matrix_rows(rules) if rules is not None else ())
        publish_pictures(drawn)
        if note_unpublished(run):
            code, result = finish(run, optional=config.checks.optional, signum=signum)
    if not context_of(run).ledger.close():
        record(run, {"event": "ledger", "kept": True})
    note_end(run)
    return _state(run, code, result)


def write_again(run: RunRef, config: LabConfig) -> State[Any]:
    """Write result.json and junit.xml again, with the steps that came after the run's end.

    Args:
        run: The run.
        config: What was asked for.

    Returns:
        The flow's state, as `end_run` gives it.
    """
    code, result = finish(run, optional=config.checks.optional)
    keep_run(run, config, context_of(run).machine, result)
    publish_files(run, config, ("junit.xml", "result.json"))
    return _state(run, code, result)


def _state(run: RunRef, code: int, result: Mapping[str, Any]) -> State[Any]:
    verdicts = [check["verdict"] for check in result["checks"]]
    said = f"{verdicts.count('pass')} of {len(verdicts)} checks passed; exit code {code}; {run.directory}"
    return Completed(message=said) if code == 0 else Failed(message=said)

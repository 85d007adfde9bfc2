"""The order in which a run leaves: evidence, app, Istio, cluster. Every part is tried, whatever became of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ParamSpec, TypeVar

from prefect import Task

from meshlab.checks.base import skipped
from meshlab.clusters.base import ClusterRef, Leftovers
from meshlab.clusters.local.child import UpChild
from meshlab.config.settings import LabConfig
from meshlab.core.cancellation import cancel
from meshlab.core.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import InstallResult
from meshlab.istio.tracing import Restore
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import KIND as CHANGE
from meshlab.lifecycle import resume
from meshlab.lifecycle.context import context_of
from meshlab.run.journal import RunRef, record_check, skip_step
from meshlab.run.result_file import summarise
from tasks.addons import restore_tracing
from tasks.bookinfo import list_objects, remove_objects
from tasks.cluster import check_teardown, release_cluster, remove_cluster, take_inventory
from tasks.istio import Labelled, check_uninstall, list_istio, uninstall_istio
from tasks.kept_lab import open_links
from tasks.pictures import start_drawing
from tasks.run import collect_evidence, fill_in
from tasks.security import restore_changes

P = ParamSpec("P")
R = TypeVar("R")
MADE = "made"  # the name under which CreatedResources is kept


@dataclass(frozen=True)
class BeforeRemoval:
    """What is done right before something is removed, given what is there of it. It raises nothing.

    uninstall: before Istio is. cluster: before the cluster is.
    """

    uninstall: Callable[[Mapping[str, tuple[str, ...]]], object] = lambda there: None
    cluster: Callable[[Leftovers], object] = lambda there: None


NOTHING_BEFORE = BeforeRemoval()


@dataclass
class CreatedResources:
    """How far the run came: what is there to be removed. Filled by the flow as it goes."""

    child: UpChild | None = None
    cluster: ClusterRef | None = None
    istio: Distribution | None = None
    mesh: InstallResult | None = None
    labelled: Labelled = field(default_factory=Labelled)
    objects: list[ObjectRef] = field(default_factory=list)
    tracing: Restore | None = None

    @property
    def found_up(self) -> str:
        """Why a run that uses what is there leaves it up; empty where it made the cluster.

        A cluster of somebody else is always there before; from that, what the run applied is removed.
        """
        found = self.cluster is not None and self.cluster.adopted and self.cluster.provider != "existing"
        return "the lab was up before the run, which leaves it up" if found else ""


def take_down(
    run: RunRef,
    config: LabConfig,
    created: CreatedResources,
    *,
    stopped: int | None,
    expected: Iterable[str] | None = None,
    why_kept: str = "",
    first: BeforeRemoval = NOTHING_BEFORE,
) -> None:
    """Collect evidence where something failed, remove what was made, and check that nothing of it is left.

    With --keep, or --keep-on-failure after a failure, nothing is removed and the two checks are skipped, as
    asked for.

    Args:
        run: The run.
        config: The settings of the run.
        created: What is there to be removed.
        stopped: The signal that ended the run, if one did.
        expected: Ids of the checks that the run owes, those of its settings where None; those that were not made are named.
        why_kept: Another reason to remove nothing; "" where there is none.
        first: What is done right before the removals.
    """
    cancel(run.run_id)  # of a run that was cut off, steps still go on in other threads
    going_on = on_its_way_out(run)
    start_drawing(run)  # needs no cluster: side by side with what waits for one
    _, code = summarise(run, optional=config.checks.optional, signum=stopped)
    failed = code != 0
    if failed:
        attempt(collect_evidence, run, config, created.cluster)
    if created.cluster is not None and owes(run, CHANGE):  # a stage failed to put back what it had changed
        attempt(restore_changes, run, created.cluster)
    if not going_on and (why_kept or config.keep or (config.keep_on_failure and failed)):
        asked = "--keep was given" if config.keep else "--keep-on-failure was given, and the run failed"
        keep(run, config, why_kept or asked)
        if created.cluster is not None and stopped is None and not why_kept:
            attempt(open_links, run, config, created.cluster, created.istio)
    else:
        remove(run, config, created, stopped, first)
    if stopped is None:
        fill_in(run, config, expected)


def owes(run: RunRef, kind: str) -> bool:
    """Tell whether the run's ledger names something of a kind.

    Args:
        run: The run.
        kind: Of the ledger's entries.

    Returns:
        True where it does.
    """
    return any(entry.kind == kind for entry in context_of(run).ledger.entries())


def keep(run: RunRef, config: LabConfig, why: str) -> None:
    """Leave everything up, and record why in place of the teardown's steps and checks.

    Args:
        run: The run.
        config: The settings of the run.
        why: The reason.
    """
    remedies = {
        "local": "make down removes the lab",
        "gke": f"the cluster is paid for; remove it: python -m flows.teardown --run {run.run_id}",
        "existing": f"remove what the run applied, in namespace {config.namespace}",
    }
    for check_id in ("uninstall.nothing-left", "teardown.nothing-left"):
        record_check(run, skipped(check_id, why, asked_for=True, remedy=remedies[config.cluster]))
    for name in ("uninstall-istio", "remove-cluster"):
        skip_step(run, name, why)
    attempt(release_cluster, run, config)


def on_its_way_out(run: RunRef) -> bool:
    """Whether this run goes on where it was cut off while it removed what it had made: nothing else is left to do."""
    resumption = resume.active(run)
    return resumption is not None and resumption.leaving


def remember(run: RunRef, created: CreatedResources) -> None:
    """Fill `created` with what the run had made before it was cut off while it removed that.

    Args:
        run: The run.
        created: Filled.

    Raises:
        MeshlabError: It was not kept.
    """
    found = resume.kept(run, MADE)
    if found is None:
        raise MeshlabError(f"what run {run.run_id} had made was not kept", remedy="make down")
    known: CreatedResources = resume.read_result(found, CreatedResources)
    for each in fields(CreatedResources):
        setattr(created, each.name, getattr(known, each.name))


def leave(run: RunRef, created: CreatedResources, stopped: int | None) -> None:
    """Write down that the run removes what it made from now on, and what that is: it may be cut off meanwhile."""
    if resume.leave(run, stopped=stopped is not None):
        resume.keep(run, MADE, replace(created, child=None), CreatedResources, cluster="", inputs="", pods={})


def remove(
    run: RunRef,
    config: LabConfig,
    created: CreatedResources,
    stopped: int | None,
    first: BeforeRemoval = NOTHING_BEFORE,
) -> None:
    """Remove app, Istio and cluster, as far as the run made them.

    Args:
        run: The run.
        config: The settings of the run.
        created: What is there to be removed.
        stopped: The signal that ended the run, if one did.
        first: What is done right before the removals.
    """
    leave(run, created, stopped)
    if created.cluster is not None and not config.ours:
        attempt(restore_tracing, run, config, created.cluster, created.tracing)
        refs = [*created.objects, *created.labelled.created]
        objects = attempt(list_objects, run, config, created.cluster, refs)
        attempt(remove_objects, run, config, created.cluster, refs, created.labelled.labelled, objects)
    remove_istio(run, config, created, stopped, first)
    if not config.ours:
        skip_step(run, "remove-cluster", "the cluster is not ours")
        return
    there = attempt(take_inventory, run, config)
    if there is not None:
        first.cluster(there)
    attempt(remove_cluster, run, config, created.child)
    if there is not None and (created.cluster is not None or any(there.items.values())):
        # Nothing there, and no cluster ever came up: not a control that failed, a check that can't be made.
        attempt(check_teardown, run, config, there)


def remove_istio(
    run: RunRef,
    config: LabConfig,
    created: CreatedResources,
    stopped: int | None,
    first: BeforeRemoval = NOTHING_BEFORE,
) -> None:
    """Remove Istio where the run installed it, or began to."""
    cluster, istio, mesh = created.cluster, created.istio, created.mesh
    if cluster is None or istio is None or (mesh is None and not istio_begun(run, config)):
        return
    if mesh is not None and mesh.reused:
        why = "Istio was there before the run, which leaves it as it is"
        skip_step(run, "uninstall-istio", why)
        record_check(run, skipped("uninstall.nothing-left", why, asked_for=True))
    elif stopped and config.ours:
        skip_step(run, "uninstall-istio", "the run was interrupted; Istio goes with the cluster")
    else:
        before = attempt(list_istio, run, config, cluster)
        if before is not None:
            first.uninstall(before)
        tried = outcome(uninstall_istio, run, config, cluster, istio, before)
        gone, why = tried
        if (was := before if gone is None else dict(gone.before)) is not None:
            attempt(check_uninstall, run, config, cluster, was, gone, why)


def istio_begun(run: RunRef, config: LabConfig) -> bool:
    """Whether an installation on a cluster that stays was cut off: what there is of it goes, too."""
    return not config.ours and owes(run, "istio")


def attempt(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Run a task whose failure must not keep the next one from being tried; the journal has the failure.

    Args:
        task: The task.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Returns:
        Its result; None when it failed.
    """
    return outcome(task, *args, **kwargs)[0]


def outcome(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[R | None, str]:
    """Run a task as `attempt` does, and say why it failed.

    Args:
        task: The task.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Returns:
        Its result, None when it failed; and why it failed, "" when it did not.
    """
    state = task(*args, return_state=True, **kwargs)
    if state.is_completed():
        return state.result(), ""
    problem = state.result(raise_on_failure=False)
    return None, getattr(problem, "message", "") or str(problem) or type(problem).__name__

"""What a run left, or what has expired, as targets of a teardown; from ledgers on this machine and labels in the cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meshlab.checks.base import failed, infra_error, passed
from meshlab.clusters.base import ClusterProvider
from meshlab.clusters.existing import connect
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.state import State
from meshlab.clusters.provider import forget_cluster
from meshlab.config.settings import GkeSettings, LabConfig, LocalSettings, Machine
from meshlab.core.errors import Problem
from meshlab.core.progress import Progress
from meshlab.core.text import pluralize
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.results import CheckResult
from meshlab.shared_cluster.cleanup import take_out

if TYPE_CHECKING:  # Google's libraries take a second to import
    from meshlab.clusters.gke.reaper import Owned, Survey

CHECK = "teardown.nothing-left"
EXPIRES = "meshlab-expires"  # the label of a cluster's end
SKEW = timedelta(minutes=1)  # between this machine's clock and Google's, from which on it is told


@dataclass(frozen=True)
class Target:
    """A cluster that is to go.

    Attributes:
        run_id: The run that made it.
        said: One line about it, for people.
        settings: How its provider reaches it.
        command: Removes it without us; empty for a local one.
    """

    run_id: str
    said: str
    settings: GkeSettings | LocalSettings
    command: str = ""

    def provider(self, machine: Machine) -> ClusterProvider:
        """Its provider."""
        if isinstance(self.settings, LocalSettings):
            return LocalCluster(self.settings, machine, run_id=self.run_id)
        from meshlab.clusters.gke.cluster import GkeCluster

        return GkeCluster(self.settings, machine, run_id=self.run_id)


@dataclass(frozen=True)
class Plan:
    """What a teardown would do.

    Attributes:
        targets: Clusters that are to go.
        stay: Clusters of ours that it leaves, one line each.
        seen: What the search has looked at.
        unanswered: Locations that did not answer: what is there could not be seen.
        told: What somebody should know beside it, a sentence each.
        unlabelled: Clusters of ours without labels, whose age is not known, so that they stay: a line each.
    """

    targets: tuple[Target, ...]
    stay: tuple[str, ...] = ()
    seen: str = ""
    unanswered: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()


def problems(config: LabConfig, machine: Machine, runs: Sequence[str], *, expired: bool) -> list[Problem]:
    """Find what is wrong with what was asked for; the cloud is not asked.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runs: Ids of runs.
        expired: Clusters past their time were asked for.

    Returns:
        The problems.
    """
    found = []
    if not runs and not expired:
        found.append(Problem("command line", "names nothing to take down", "give --run RUN_ID or --expired"))
    if runs and expired:
        what = "is one thing, --expired another: these runs would not be looked at"
        found.append(Problem("--run", what, "give one of them, then run it again with the other"))
    if expired and config.gke.project is None:
        found.append(Problem("--project", "is needed with --expired", "name the project to look through"))
    for run_id in runs:
        ledger = Ledger.of(machine, run_id)
        if ledger is None and config.gke.project is None:
            what = "has no ledger on this machine: all it made is gone, or another machine made it"
            found.append(
                Problem(f"--run {run_id}", what, "name its --project, where it is found by its label")
            )
        elif ledger is not None and ledger.owner_lives():
            found.append(
                Problem(f"--run {run_id}", "goes on", "stop it first (Ctrl-C); it then takes itself down")
            )
    return found


def search(config: LabConfig, machine: Machine, runs: Sequence[str], past: bool) -> Plan:
    """Find what is to go.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runs: Ids of runs.
        past: Look for clusters past their time instead.

    Returns:
        What is to be removed, and what stays.

    Raises:
        CloudError: The cloud can't be searched.
    """
    return expired(config, machine) if past else of_runs(config, machine, runs)


def of_runs(config: LabConfig, machine: Machine, runs: Sequence[str]) -> Plan:
    """Find what runs left: by their ledgers, and by label where a project is named.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        runs: Ids of runs.

    Returns:
        What is to be removed.

    Raises:
        CloudError: The cloud can't be searched.
    """
    targets = [target for run_id in runs for target in _of_ledger(machine, run_id)]
    seen = f"{pluralize(len(targets), 'clusters')} in ledgers of this machine"
    unanswered: tuple[str, ...] = ()
    if config.gke.project is not None:
        from meshlab.clusters.gke.reaper import survey

        found = survey(config.gke)
        unanswered = found.unanswered
        known = {_place(target.settings) for target in targets if isinstance(target.settings, GkeSettings)}
        targets += [
            _of_owned(each, config.gke)
            for each in (*found.ours, *found.unlabelled)
            if each.run_id in runs and (each.place.location, each.place.name) not in known
        ]
        seen += f", {_counted(found)} in {config.gke.project}"
    return Plan(tuple(targets), seen=seen, unanswered=unanswered)


def expired(config: LabConfig, machine: Machine, *, now: datetime | None = None) -> Plan:
    """Find every cluster of ours in the project that is past its time.

    One that a living run here holds stays.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        now: By which time is judged; the clock's where not given.

    Returns:
        What is to be removed, and what stays.

    Raises:
        CloudError: The cloud can't be searched.
    """
    from meshlab.clusters.gke.reaper import survey

    found = survey(config.gke)
    here = datetime.now(UTC)
    moment = now or found.now or here
    told = [*_clock_told(found.now, here)]
    told += [
        f"{each.place.path} never expires: its label {EXPIRES} can't be read"
        for each in found.ours
        if not each.expires
    ]
    targets, stay = [], []
    for each in found.ours:
        if not each.expired(moment):
            stay.append(str(each))
        elif _lives(machine, each.run_id):
            stay.append(f"{each}: its run still goes on")
        else:
            targets.append(_of_owned(each, config.gke))
    seen = f"{_counted(found)} in {config.gke.project}, all zones"
    unlabelled = tuple(
        f"{each.place.path} of run {each.run_id} has lost its labels, and nobody knows when it expires ({each.paid}); "
        f"python -m flows.teardown --run {each.run_id} --project {config.gke.project} removes it"
        for each in found.unlabelled
        if not _lives(machine, each.run_id)
    )
    return Plan(tuple(targets), tuple(stay), seen, found.unanswered, tuple(told), unlabelled)


def _lives(machine: Machine, run_id: str) -> bool:
    ledger = Ledger.of(machine, run_id)
    return ledger is not None and ledger.owner_lives()


def _counted(found: Survey) -> str:
    return f"{pluralize(len(found.ours), 'clusters')} of ours and {pluralize(found.foreign, 'others')}"


def _clock_told(google: datetime | None, here: datetime) -> Iterator[str]:
    if google is None:
        yield "Google's time is not known: what has expired is judged by this machine's clock"
    elif abs(google - here) > SKEW:
        seconds = (here - google).total_seconds()
        yield f"this machine's clock is {seconds:+.0f} s off Google's, by which is judged what has expired"


def remove(target: Target, machine: Machine, progress: Progress) -> None:
    """Take a target down and strike it out of dead runs' ledgers.

    A cluster that another run has adopted stays, and is an error that names that run: nobody may think that
    it is gone.

    Args:
        target: What is removed.
        machine: This machine: its folders and what it has.
        progress: Told how far it came.

    Raises:
        ClusterError: Something of it stays.
        CloudError: The cloud refuses it.
    """
    provider = target.provider(machine)
    if isinstance(target.settings, LocalSettings):
        provider.down(progress=progress)
        forget_cluster(machine, target.settings)
        return
    from meshlab.clusters.gke.cluster import GkeCluster
    from meshlab.clusters.gke.record import disown

    assert isinstance(provider, GkeCluster)
    stays = provider.adopted()
    if stays is None:
        provider.down(progress=progress)
        forget_cluster(machine, target.settings)
        return
    if (ledger := Ledger.of(machine, target.run_id)) is not None:
        disown(provider.place, ledger)
    raise stays


def put_back(config: LabConfig, machine: Machine, run_id: str) -> list[Entry]:
    """Put back what a killed run changed on a cluster that is not ours, and remove what it applied there.

    The cluster is the one that `--cluster existing --context` names: a ledger holds no credentials.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        run_id: The run.

    Returns:
        What the run's ledger still names.

    Raises:
        KubeError: The cluster refuses it.
        WaitTimeout: Something does not go.
    """
    ledger = Ledger.of(machine, run_id)
    if ledger is None:
        return []
    if config.cluster == "existing":
        take_out(connect(config.existing, machine), ledger, config.namespace)
    if not ledger.entries():
        ledger.close()
        return []
    return list(ledger.entries())


def nothing_left(plan: Plan, again: Callable[[], Plan], *, acted: bool) -> CheckResult:
    """Make the check teardown.nothing-left of a teardown: the search that found the targets finds none now.

    Without `acted` (a dry run) each target is a finding. The control of an empty answer is that the search
    saw the project's other clusters, or says that there is none; every zone must have answered.

    Args:
        plan: What was found before.
        again: Searches again.
        acted: The targets were removed.

    Returns:
        The check.
    """
    evidence = {
        "targets": [target.said for target in plan.targets],
        "stay": list(plan.stay),
        "seen": plan.seen,
    }
    evidence["unanswered"] = list(plan.unanswered)
    if not acted and plan.targets:
        found = [f"to be removed: {target.said}" for target in plan.targets]
        found += [f"left: {each}" for each in plan.unlabelled]
        return failed(CHECK, found, evidence, remedy="look them through, then run again with --yes")
    after = again() if plan.targets else plan
    evidence["after"] = [target.said for target in after.targets]
    evidence["unanswered"] = list(after.unanswered)
    if after.targets:
        return failed(
            CHECK,
            [f"still there: {target.said}" for target in after.targets],
            evidence,
            remedy="run it again; or " + "; ".join(each.command for each in after.targets if each.command)
            if any(each.command for each in after.targets)
            else "run it again",
        )
    if after.unlabelled:
        return failed(
            CHECK,
            [f"left: {each}" for each in after.unlabelled],
            {**evidence, "unlabelled": list(after.unlabelled)},
            remedy="look whose they are, and remove them with the commands that are named",
        )
    if after.unanswered:
        return infra_error(
            CHECK,
            f"no answer for {', '.join(after.unanswered)}: what is there could not be seen "
            f"({len(plan.targets)} found elsewhere and removed)",
            evidence,
            remedy="run it again later",
        )
    return passed(CHECK, f"{len(plan.targets)} found and removed, 0 left; {after.seen}", evidence)


def _of_ledger(machine: Machine, run_id: str) -> list[Target]:
    ledger, found = Ledger.of(machine, run_id), []
    for entry in ledger.entries() if ledger is not None else ():
        if entry.kind != "cluster":
            continue
        if entry.where == "local":
            found.append(
                Target(run_id, f"local cluster {entry.name} of run {run_id}", _local(machine, entry.name))
            )
        elif ledger is not None and entry.where.startswith("gke:"):
            from meshlab.clusters.gke.record import settings_of

            said = f"{entry.where.removeprefix('gke:')}/clusters/{entry.name} of run {run_id}"
            settings = settings_of(ledger)
            found.append(Target(run_id, said, settings, _command(settings)))
    return found


def _local(machine: Machine, name: str) -> LocalSettings:
    """Settings of a local cluster by its name; its own record knows the network."""
    record = State(Layout.of(LocalSettings(name=name), machine)).record()
    return LocalSettings(name=name, network=record.network) if record else LocalSettings(name=name)


def _of_owned(owned: Owned, settings: GkeSettings) -> Target:
    there = {"zone": owned.place.location, "name": owned.place.name}
    found = settings.model_copy(update=there)
    return Target(owned.run_id, str(owned), found, _command(found))


def _command(settings: GkeSettings) -> str:
    from meshlab.clusters.gke.names import Place, delete_command

    return delete_command(Place(settings.project or "", settings.zone, settings.name))


def _place(settings: GkeSettings) -> tuple[str, str]:
    return settings.zone, settings.name

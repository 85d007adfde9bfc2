"""From a command line that was judged to the moment before the flow: write down, start the cluster, then Prefect.

Prefect takes seconds to import and to start its server; the cluster comes up meanwhile in a process of its
own. A flow that a worker starts finds nothing prepared and does the same things itself.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from meshlab.cli.command import Asked, Command
from meshlab.cli.earlier import earlier
from meshlab.cli.flags import complain
from meshlab.cli.resume import take_up
from meshlab.cli.terminal import View, closing
from meshlab.clusters.local import child as local_child
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.provider import name_of, provider_of
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.core import registry
from meshlab.core.errors import (
    ClusterBusyError,
    Interrupted,
    KubeError,
    MeshlabError,
    WaitTimeout,
)
from meshlab.core.safe_output import SafeOutput, flush_output
from meshlab.core.signals import (
    answer_signals,
    signal_of,
    signals_note,
    signals_raise,
    signals_wait,
    unanswered_signal,
)
from meshlab.history.keep import keep_run
from meshlab.lifecycle.kept_lab import KeptLab, lines, serve_pages, take_kept_lab
from meshlab.lifecycle.resume import keep_config
from meshlab.run.journal import (
    RunRef,
    create,
    ended,
    fail_step,
    new_run_id,
    record,
    record_facts,
    report_progress,
    step,
)
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.result_file import finish
from meshlab.shared_cluster.lock import acquire_lease, release_lease

log = logging.getLogger(__name__)
ADDONS = ("prometheus", "jaeger")  # their images the local cluster must hold for a run


@dataclass(frozen=True)
class Launch:
    """What is prepared before the flow: the judged configuration, the run, and the cluster's `up`, if any.

    chosen: the flow's own parameters.
    """

    config: LabConfig
    run: RunRef
    child: local_child.UpChild | None
    machine: Machine
    chosen: Mapping[str, Any] = field(default_factory=dict)


def prepared() -> Launch | None:
    """What the command line has prepared for the flow of this process, once; later calls give None."""
    return registry.take(Launch)


def run_flow(command: Command, asked: Asked, load: Callable[[], Callable[..., Any]]) -> int:
    """Run a flow as its command line asks for it.

    Args:
        command: The flow's command.
        asked: What its command line asks for, judged.
        load: Imports the flow (and Prefect with it) and returns it; called when the cluster comes up already.

    Returns:
        The exit code.
    """
    launch = prepare(command, asked)
    console, signum, server_unreachable = Console(file=SafeOutput(sys.stdout)), None, False  # type: ignore[arg-type]
    serve_pages(launch.config.serve or (sys.stdin.isatty() and sys.stdout.isatty()))
    try:
        before = earlier(launch.run.directory, launch.run.flow, launch.config.cluster)
        with View(console, earlier=before).showing():
            console.print(Text(f"run {launch.run.run_id}  →  {launch.run.directory}"), soft_wrap=True)
            flow = load()  # an exception that is raised in the middle of an import may be lost in it
            signals_raise()
            state = flow(launch.config, **launch.chosen, return_state=True)
            if getattr(state, "message", None) and not ended(launch.run):
                fail_step(launch.run, "flow", state.message)  # it failed before it could say so itself
    except KeyboardInterrupt as problem:
        signum = problem.signum if isinstance(problem, Interrupted) else signal.SIGINT
    except Exception as problem:  # noqa: BLE001 - the flow ends itself; this is Prefect failing before or after it
        signum = signal_of(problem) or unanswered_signal()  # whatever has taken the place of its exception
        told = str(problem) or type(problem).__name__
        server_unreachable = isinstance(problem, httpx.TransportError)
        if ended(launch.run):
            text = f"Prefect was not told how the run ended{', its server is gone' if server_unreachable else ''}: {told}"
            record(launch.run, {"event": "warning", "text": text})
            console.print(Text(f"  ! {text}", style="bold yellow"), soft_wrap=True)
        elif signum is None:
            fail_step(
                launch.run,
                "flow",
                f"Prefect's server does not answer: {told}" if server_unreachable else told,
            )
    with signals_wait():
        signum = signum or unanswered_signal()
        answer_signals()
        if prepared() is not None and launch.child is not None:
            _abandon(launch)
        release_lease(launch.run.run_id)
        if not server_unreachable:  # else the next run still has to tell Prefect how this one ended
            forget(launch.run, launch.machine)
        code, result = finish(launch.run, optional=launch.config.checks.optional, signum=signum)
        keep_run(launch.run, launch.config, launch.machine, result, console)
    commands = next_commands(
        launch.config, code, command.flow, machine=launch.machine, owing=owing(launch.run, launch.machine)
    )
    closing(console, result, code, str(launch.run.directory), commands)
    kept = take_kept_lab()
    if kept is not None and signum is None:
        hold(kept, console)
    elif kept is not None:
        kept.close()
    flush_output(sys.stdout, sys.stderr)
    if server_unreachable:
        leave(code)
    return code


def prepare(command: Command, asked: Asked) -> Launch:
    """Make run directory and ledger, then start the cluster.

    Once the cluster is held, signals are noted only, for `signals_raise` to raise them where what was begun is
    ended, too. Exits with 2 where another run holds the cluster.

    Args:
        command: The flow's command.
        asked: What its command line asks for, judged.

    Returns:
        What is to be run.
    """
    program, decide = command.program, command.decide
    config, machine, run, again, cluster = asked.config, asked.machine, asked.run, asked.again, asked.cluster
    signals_raise()
    run_id = run.run_id if run is not None else new_run_id()
    try:
        if decide is None:
            acquire_lease(config, machine, run_id)
        signals_note()
    except Interrupted as problem:
        with signals_wait():
            answer_signals()
            release_lease(run_id)
        complain(program, f"{problem}; nothing was started")
        sys.exit(128 + problem.signum)
    except ClusterBusyError as problem:
        complain(program, problem)
        sys.exit(2)
    except (KubeError, WaitTimeout) as problem:
        log.debug("the cluster can't be held, which its start will say: %s", problem.message)
        signals_note()
    try:
        run = run or create(config.runs_dir, command.flow, run_id=run_id)
        ledger = Ledger.open(machine, run)
        if again is not None:
            take_up(run, again, config, machine, cluster)
        keep_config(run, config)
        if decide is None:
            note_cluster(run, config, machine)
        child = None
        if config.cluster == "local" and decide is None and cluster is None:
            ledger.intend(Entry("cluster", config.local.name, "local"))
            child = local_child.start(config.local, run.run_id, run.evidence, addons=ADDONS)
    except MeshlabError as problem:
        complain(program, problem)
        if run is not None:
            fail_step(run, "prepare", str(problem))
            finish(run)
        release_lease(run_id)
        sys.exit(3)
    launch = Launch(config, run, child, machine, asked.chosen)
    registry.put(launch)
    return launch


def note_cluster(run: RunRef, config: LabConfig, machine: Machine) -> None:
    """Write down which cluster the run is on, before it is asked.

    One that does not answer is the worst of nights: its run must still be compared with the others of that
    cluster.

    Args:
        run: The run.
        config: The settings of the run.
        machine: This machine: its folders and what it has.
    """
    record_facts(run, cluster={"provider": config.cluster, "name": name_of(config, machine)})


def leave(code: int) -> None:
    """End the process at once. Prefect would first try for minutes to tell a server that is gone of each event."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def hold(kept: KeptLab, console: Console) -> None:
    """Say where the pages are and keep them up until Ctrl-C or SIGTERM, then end them. The lab stays up."""
    try:
        for line in lines((kept.start, *kept.links), kept.loop_note):
            console.print(Text(f"  {line}"), soft_wrap=True)
        console.print(Text("open until Ctrl-C; the lab stays up after it"))
        kept.hold()
    except (Interrupted, KeyboardInterrupt):
        answer_signals()
        console.print(Text("port-forwards and traffic ended"))
    finally:
        with signals_wait():
            kept.close()


def _abandon(launch: Launch) -> None:
    """The flow never began: end the `up` that was started for it, and remove what it made."""
    assert launch.child is not None
    local_child.end(launch.child)
    machine = launch.machine
    with step(launch.run, "remove-cluster"):
        provider_of(launch.config, machine, launch.run.run_id).down(progress=report_progress)
    ledger = Ledger.open(machine, launch.run)
    ledger.gone(Entry("cluster", launch.config.local.name, "local"))
    ledger.close()


def owing(run: RunRef, machine: Machine) -> str:
    """The run's id where its ledger still names what it made, kept or not removed; else empty."""
    ledger = Ledger.of(machine, run.run_id)
    return run.run_id if ledger is not None and ledger.entries() else ""


def forget(run: RunRef, machine: Machine) -> None:
    """Close the run's ledger where nothing is left in it.

    The flow does so itself if it comes to its end.

    Args:
        run: The run.
        machine: This machine: its folders and what it has.
    """
    ledger = Ledger.of(machine, run.run_id)
    if ledger is not None:
        ledger.close()


def next_commands(
    config: LabConfig, code: int, flow: str = "full-lab", *, machine: Machine, owing: str = ""
) -> list[str]:
    """What a reader may want to type next. owing: the run's id where it left something (see `owing`)."""
    if flow == "teardown":
        return []  # its check says it
    if config.cluster == "gke" and owing:
        until = f"after {config.gke.hours_to_live:g} h the reaper may take it"
        return [f"python -m flows.teardown --run {owing}   (removes the cluster, which is paid for; {until})"]
    if config.keep or (config.keep_on_failure and code):
        if config.cluster != "local":
            return ["the lab was kept; its objects are in the namespace " + config.namespace]
        layout = Layout.of(config.local, machine)
        other = LocalSettings()
        named = (config.local.name, config.local.network) != (other.name, other.network)
        words = f' ARGS="--name {config.local.name} --network {config.local.network}"' if named else ""
        return [
            f"make down{words}   (removes the lab that was kept)",
            f"export KUBECONFIG={layout.kubeconfig}   (then kubectl, istioctl and curl on the node addresses reach it)",
        ]
    if flow == "nightly-validation":
        return [f"python -m flows.history diff --flow {flow}   (what changed since the night before)"]
    goal = {"full-lab": "lab"}.get(flow, flow)
    flag, why = ("--keep-on-failure", "when something failed") if code else ("--keep", "to look around")
    words = flag if config.cluster == "local" else f'"--cluster {config.cluster} … {flag}"'
    return [f"make {goal} ARGS={words}   (leaves the lab up {why})"]

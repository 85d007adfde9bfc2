"""The command that opens the pages of a lab that is up already: judged like the others, held until Ctrl-C."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from meshlab.cli.flags import complain, parse
from meshlab.cli.launch import hold
from meshlab.clusters import existing
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.state import State
from meshlab.clusters.provider import name_of
from meshlab.config.loader import load
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, Interrupted, MeshlabError, Problem
from meshlab.core.signals import signals_raise, signals_wait
from meshlab.istio.distribution import downloads, locate
from meshlab.kube.api_errors import api_errors
from meshlab.kube.client import Kube
from meshlab.lifecycle.kept_lab import KeptLab, Shown, page_problems


def main(arguments: list[str], *, program: str, about: str) -> int:
    """Open the lab's pages, say where they are, and hold them.

    Args:
        arguments: The command line, without the program.
        program: What the help calls the command.
        about: The help's description.

    Returns:
        The exit code: 0 after Ctrl-C or SIGTERM, 2 for bad input, 3 where it failed.
    """
    machine, console = Machine.here(), Console()
    words = parse(arguments, program, about)
    loaded = load(words.flags, words.sets, words.config)
    found = [*words.problems, *loaded.problems, *problems(loaded.config, machine, spoiled=loaded.spoiled)]
    if found:
        complain(program, InputError(found).message)
        return 2
    signals_raise()
    kept: KeptLab | None = None
    try:
        kube = connect(loaded.config, machine)
        kept = KeptLab(kube, loaded.config, shown(loaded.config, machine)).open()
        hold(kept, console)
    except Interrupted:
        console.print(Text("interrupted before the pages were open"))
    except MeshlabError as problem:
        complain(program, problem)
        return 3
    finally:
        with signals_wait():
            if kept is not None:
                kept.close()
    return 0


def connect(config: LabConfig, machine: Machine) -> Kube:
    """Connect to the cluster that is up.

    It is asked once whether it answers.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.

    Returns:
        A client of it.

    Raises:
        KubeError: It does not answer.
    """
    if config.cluster == "local":
        layout = Layout.of(config.local, machine)
        kube = Kube.connect(layout.kubeconfig, layout.name)
    else:
        kube = existing.connect(config.existing, machine)
    with api_errors(f"ask {kube.host} for its version"):
        kube.version.get_code()
    return kube


def problems(config: LabConfig, machine: Machine, *, spoiled: set[str]) -> list[Problem]:
    """Find out why there is no lab to look at.

    Touches nothing; a lab that a run uses may be looked at, too.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.
        spoiled: Sections of the settings in which a problem was found already: nothing is concluded from
            them.

    Returns:
        One problem for each reason; none where there is a lab.
    """
    found = [] if "pages" in spoiled else page_problems(config)
    return found + ([] if "cluster" in spoiled or config.cluster in spoiled else _no_lab(config, machine))


def shown(config: LabConfig, machine: Machine) -> Shown:
    """Find what the start page shows beside the cluster's own: the newest report of this lab, and Istio's dashboards.

    Nothing is downloaded for it; what is not found is said on the page.

    Args:
        config: The settings of the run.
        machine: This machine: its folders and what it has.

    Returns:
        What was found.
    """
    name = name_of(config, machine)
    directory = newest_run(config.runs_dir, name)
    why = (
        "the dashboards are in a release's samples, which this machine does not have: name it with --istioctl"
    )
    try:
        samples = None if downloads(config, machine) else locate(config, machine=machine).samples
    except MeshlabError as problem:
        samples, why = None, problem.message
    return Shown(name, directory, samples, why)


def newest_run(runs_dir: Path, cluster: str) -> Path | None:
    """Find the newest run on a cluster that has a report.

    Args:
        runs_dir: The folder of all runs; their names sort by time.
        cluster: The cluster's name.

    Returns:
        The run's folder; None where there is none.
    """
    for report in sorted(runs_dir.glob("*/report.html"), reverse=True):
        try:
            result = json.loads((report.parent / "result.json").read_text(encoding="utf-8"))
            if result["cluster"]["name"] == cluster:
                return report.parent
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no run of ours, or one that was cut off
    return None


def _no_lab(config: LabConfig, machine: Machine) -> list[Problem]:
    if config.cluster == "existing":
        return existing.problems(config.existing, machine)
    if config.cluster == "gke":
        remedy = f"--cluster existing --kubeconfig {machine.state}/gke/RUN_ID/kubeconfig"
        return [Problem("--cluster gke", "is looked at by its kubeconfig", remedy)]
    layout = Layout.of(config.local, machine)
    try:
        record = State(layout).record()
    except PermissionError:
        return [Problem("--cluster local", "can't be looked at by this user", "run as root")]
    if record is None or not layout.kubeconfig.exists():
        remedy = "bring a lab up with `make lab ARGS=--keep`, or name another (--set local.name=…)"
        return [Problem("local.name", f"there is no cluster {layout.name} on this machine", remedy)]
    return []

"""What can be known to be wrong before anything is touched. Every problem is returned, none is raised."""

from __future__ import annotations

import tempfile
from pathlib import Path

from meshlab.errors import Problem
from meshlab.settings import LabConfig, Machine


def preflight(
    config: LabConfig, machine: Machine, *, spoiled: set[str], need_cluster: bool = True
) -> list[Problem]:
    """All problems of this configuration on this machine.

    spoiled: top-level settings that are known to be wrong; what depends on them is not looked at.
    need_cluster: whether the provider is asked too.
    """
    problems: list[Problem] = []
    if "runs_dir" not in spoiled:
        problems += runs_dir_problems(config.runs_dir)
    if "istio" not in spoiled and "cluster" not in spoiled:
        from meshlab.istio.distribution import problems as istio_problems

        problems += istio_problems(config, machine)
    if need_cluster and "cluster" not in spoiled and config.cluster not in spoiled:
        problems += provider_problems(config, machine)
    return problems


def runs_dir_problems(folder: Path) -> list[Problem]:
    """Whether the runs directory can be written, tried where it or its nearest existing parent is."""
    where = f"--runs-dir {folder}"
    place = folder.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            return [Problem(where, f"{place} is no directory", "name another folder")]
        with tempfile.TemporaryDirectory(prefix=".meshlab-", dir=place):
            return []
    except OSError as wrong:
        return [Problem(where, f"can't be written: {wrong.strerror}", "name a folder that you may write to")]


def provider_problems(config: LabConfig, machine: Machine) -> list[Problem]:
    """What the chosen provider says about this machine and its settings."""
    if config.cluster == "local":
        from meshlab.clusters.local.preflight import problems as local_problems

        return local_problems(config.local, machine)
    if config.cluster == "existing":
        from meshlab.clusters.existing import problems as existing_problems

        return existing_problems(config.existing, machine)
    found = (
        []
        if config.gke.project
        else [Problem("--project", "is needed with --cluster gke", "name the project that pays")]
    )
    return [
        *found,
        Problem(
            "--cluster gke",
            "can't be run yet: the GKE provider is not there",
            "use --cluster local or --cluster existing",
        ),
    ]

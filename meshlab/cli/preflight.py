"""What can be known to be wrong before anything is touched. Every problem is returned, none is raised."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from meshlab.checks.base import CATALOG
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import KubeError, Problem
from meshlab.core.redaction import redact_value

if TYPE_CHECKING:  # importing it takes a while, and most command lines need no cluster
    from meshlab.kube.client import Kube


def preflight(
    config: LabConfig, machine: Machine, *, spoiled: set[str], need_cluster: bool = True
) -> list[Problem]:
    """All problems of this configuration on this machine.

    spoiled: settings that are known to be wrong, and their sections; what depends on them is not looked at.
    need_cluster: whether the flow works on one: then the provider is asked, and an Istio must be there to be used.
    """
    problems: list[Problem] = []
    if "runs_dir" not in spoiled:
        problems += runs_dir_problems(config.runs_dir)
    if config.report.publish is not None and "report" not in spoiled:
        problems += report_problems(config.report.publish)
    if config.serve and not (config.keep or config.keep_on_failure):
        problems.append(Problem("--serve", "has nothing to hold up: the lab is removed", "add --keep"))
    if config.pages.port and "pages" not in spoiled and (config.keep or config.keep_on_failure):
        from meshlab.lifecycle.kept_lab import page_problems

        problems += page_problems(config)
    if need_cluster and "istio" not in spoiled and "cluster" not in spoiled:
        from meshlab.istio.distribution import problems as istio_problems

        problems += istio_problems(config, machine)
    problems += secret_problems(config)
    if "audit" not in spoiled:
        problems += audit_problems(config)
    if need_cluster and "cluster" not in spoiled and config.cluster not in spoiled:
        problems += provider_problems(config, machine)
    elif need_cluster and config.cluster == "gke" and "cluster" not in spoiled:
        from meshlab.clusters.gke.all_problems import examine_rest

        problems += examine_rest(config.gke, spoiled, machine)
    return problems


def runs_dir_problems(folder: Path) -> list[Problem]:
    """Whether the runs directory can be written, tried where it or its nearest existing parent is."""
    return folder_problems(f"--runs-dir {folder}", folder)


def report_problems(address: str) -> list[Problem]:
    """Whether reports can be published where the settings say; tried there, as nothing else tells."""
    from meshlab.report.publish import SETTING, folder_of, publish_problems

    folder = folder_of(address)
    return publish_problems(address) if folder is None else folder_problems(f"{SETTING} {address}", folder)


def folder_problems(where: str, folder: Path) -> list[Problem]:
    """Whether a folder can be written, or made.

    Args:
        where: What names it.
        folder: The folder.

    Returns:
        What is wrong with it.
    """
    place = folder.absolute()
    try:
        while not _exists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            return [Problem(where, f"{place} is no directory", "name another folder")]
        with tempfile.TemporaryDirectory(prefix=".meshlab-", dir=place):
            return []
    except OSError as wrong:
        return [Problem(where, f"can't be written: {wrong.strerror}", "name a folder that you may write to")]


def _exists(place: Path) -> bool:
    try:
        place.stat()  # since Python 3.14 `Path.exists` swallows every error, a name that is too long among them
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def secret_problems(config: LabConfig) -> list[Problem]:
    """Settings that hold a secret: they are the flow's parameters, which Prefect's server stores and its UI shows."""
    content = config.model_dump(mode="json")
    remedy = "name a file that holds it (a kubeconfig, say), and take it out of the settings"
    return [
        Problem(name, "holds a secret, and settings are shown in the Prefect UI", remedy)
        for name, value in content.items()
        if redact_value({name: value}) != {name: value}
    ]


def existing_problems(config: LabConfig, machine: Machine) -> list[Problem]:
    """What is wrong with the kubeconfig; where nothing is, what the cluster does not permit."""
    from meshlab.cli import room
    from meshlab.clusters import existing
    from meshlab.shared_cluster import permissions

    found = existing.problems(config.existing, machine)
    if found:
        return found
    try:
        kube = existing.connect(config.existing, machine)
    except KubeError as problem:
        return [Problem("--context", problem.message, problem.remedy)]
    refused = permissions.problems(kube, config)
    # What may not be read can't be judged: the permissions come first.
    return (
        refused
        + existing_release_problems(kube, config, machine)
        + ([] if refused else room.problems(kube, config))
    )


def audit_problems(config: LabConfig) -> list[Problem]:
    """Accepted risks of rules that don't exist."""
    rules = [name.removeprefix("audit.") for name in CATALOG if name.startswith("audit.")]
    return [
        Problem(
            f"audit.accepted.{index}.rule", f"there is no rule {each.rule!r}", f"one of: {', '.join(rules)}"
        )
        for index, each in enumerate(config.audit.accepted)
        if each.rule.removeprefix("audit.") not in rules
    ]


def provider_problems(config: LabConfig, machine: Machine) -> list[Problem]:
    """What the chosen provider says about this machine and its settings."""
    if config.cluster == "local":
        from meshlab.clusters.local.pins import versions
        from meshlab.clusters.local.preflight import problems as local_problems

        ours = local_problems(config.local, machine) + pull_problems(config, machine)
        return ours + release_problems(config, machine, versions().kubernetes)
    if config.cluster == "existing":
        return existing_problems(config, machine)
    from meshlab.clusters.gke.all_problems import examine_all

    found = examine_all(config.gke, machine)
    if not found.version:
        return found.problems
    return found.problems + release_problems(config, machine, found.version, found.offered)


def pull_problems(config: LabConfig, machine: Machine) -> list[Problem]:
    """Official images that are asked of a local cluster, whose nodes have no way out, and can't come to it."""
    from meshlab.clusters.local.pull import problems

    if not config.needs_pull:
        return []
    found = []
    pull, brought = config.local.pull, bool(config.local.image_archives)
    if pull == "never" and not brought:
        what = "leaves a local cluster without the official images that are asked for"
        found.append(
            Problem("local.pull never", what, "leave it out, or bring every image: local.image_archives")
        )
    elif pull not in ("never", "always") and not brought:  # always is judged with the cluster's own settings
        found += [replace(each, where="official images") for each in problems("always", machine)]
    if config.local.cni and config.distribution == "release":
        found.append(
            Problem(
                "local.cni",
                "installs the node agent of the embedded distribution, and istio.distribution is release",
                "leave it out",
            )
        )
    return found


def release_problems(
    config: LabConfig, machine: Machine, kubernetes: str, offered: Sequence[str] = ()
) -> list[Problem]:
    """Whether the release of Istio that would be downloaded supports the cluster's Kubernetes."""
    from meshlab.istio.distribution import downloads
    from meshlab.istio.support import problems as support_problems

    if not downloads(config, machine):
        return []
    return support_problems(config.istio.version, kubernetes, offered)


def existing_release_problems(kube: Kube, config: LabConfig, machine: Machine) -> list[Problem]:
    """The same for a cluster that runs already; one that does not answer is told by the step that needs it."""
    from meshlab.istio.distribution import downloads

    try:
        return release_problems(config, machine, kube.server_version()) if downloads(config, machine) else []
    except KubeError:
        return []

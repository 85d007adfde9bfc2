"""What a kept lab offers to look at: links to its pages, held by the command line that started the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.process import SystemRunner
from meshlab.core.text import pluralize
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle.context import context_of, kube_of
from meshlab.lifecycle.kept_lab import KeptLab, Link, Shown, hand_over, links_to_pods, serves_pages
from meshlab.lifecycle.screenshots import take
from meshlab.report.tables import link_rows
from meshlab.run.journal import RunRef, keep_evidence, record_facts
from tasks.common import lab_task, log_info
from tasks.report import publish_table


@lab_task("open-links")
def open_links(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution | None = None
) -> tuple[Link, ...]:
    """Open port-forwards, start page and gentle loop where the command line will hold them; else say how to open them.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Its samples hold the dashboards; None where the run did not come that far.

    Returns:
        The links.
    """
    if not serves_pages():
        where = (
            f"--set local.name={config.local.name}"
            if config.cluster == "local"
            else f"--cluster existing --kubeconfig {cluster.kubeconfig} --context {cluster.context}"
        )
        links: tuple[Link, ...] = (Link("all pages", note=f"python -m flows.dashboards {where}"),)
        if config.cluster == "local":
            links = (*links_to_pods(kube_of(cluster), config), *links)
        _note(run, links)
        publish_table("links", link_rows(map(asdict, links)), "How to open the kept lab's pages")
        return links
    samples = distribution.samples if distribution else None
    kept = KeptLab(kube_of(cluster), config, Shown(cluster.name, run.directory, samples)).open()
    hand_over(kept)
    links = (kept.start, *kept.links)
    _note(run, links)
    publish_table("links", link_rows(map(asdict, links)), "The kept lab's pages, open until Ctrl-C")
    take_screenshots(run, links)
    return links


def take_screenshots(run: RunRef, links: Sequence[Link]) -> None:
    """Keep a picture of each page that is open, where this machine has Chromium."""
    pages = {each.name: each.url for each in links if each.url and each.kind == "page"}
    taken = take(pages, run.directory, runner=SystemRunner(), path=context_of(run).machine.path)
    if taken.files:
        log_info(f"{pluralize(len(taken.files), 'screenshots')} in {taken.files[0].parent}")
    for problem in taken.problems:
        log_info(f"no screenshot of {problem}")


def _note(run: RunRef, links: Sequence[Link]) -> None:
    keep_evidence(run, "links.json", links)
    record_facts(
        run, links=[{"name": each.name, "url": each.url, "kind": each.kind} for each in links if each.url]
    )

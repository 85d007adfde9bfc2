"""What a run has changed on a cluster that other people use, as a part of teardown.nothing-left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from meshlab.checks.base import failed
from meshlab.core.text import pluralize
from meshlab.kube.client import Kube
from meshlab.run.results import CheckResult, Verdict
from meshlab.shared_cluster.footprint import changes, concerns


def unchanged(check: CheckResult, directory: Path, kube: Kube, namespace: str) -> CheckResult:
    """Make teardown.nothing-left, with the difference of the inventories before the run and now.

    A difference in the app's namespace, or that namespace itself, is a failure; others are named in the
    summary. Evidence: `objects` (how many were compared), `changed_by_us`, `changed_elsewhere`.

    Args:
        check: The check so far.
        directory: The run's directory, which holds the inventory before the run.
        kube: Client of the cluster.
        namespace: Of the application.

    Returns:
        The check.

    Raises:
        KubeError: The cluster does not answer.
    """
    compared = changes(directory, kube)
    if compared is None:
        return check
    objects, lines = compared
    ours = [line for line in lines if concerns(line, namespace)]
    elsewhere = [line for line in lines if line not in ours]
    evidence = {
        **check.evidence,
        "objects": objects,
        "changed_by_us": ours,
        "changed_elsewhere": elsewhere,
    }
    if ours and check.verdict is Verdict.PASS:
        return failed(check.id, ours, evidence, remedy="put these objects back as they were")
    told = (
        f"{pluralize(objects, 'objects')} as before"
        if not lines
        else f"of {pluralize(objects, 'objects')}: {_few(lines)}"
    )
    return replace(check, summary=f"{check.summary}; {told}", evidence=evidence)


def _few(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more

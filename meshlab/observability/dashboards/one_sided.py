"""Queries for the side of a request that a Prometheus does not keep: empty for a reason, which is proven like the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from meshlab.observability.addons.scraping import REPORTERS
from meshlab.observability.dashboards.asking import Job
from meshlab.observability.dashboards.expected import Expectation, Precondition

NAMED = re.compile(r'reporter\s*=~?\s*"([^"]*)"')  # in PromQL, its variables filled in


def excuse(jobs: Sequence[Job], kept: Collection[str]) -> None:
    """Give an entry to each query that asks for the other side only; data is no contradiction.

    Args:
        jobs: The queries, asked once at least: then their variables are filled in.
        kept: The reporters whose series the Prometheus keeps.
    """
    lost = [each for each in REPORTERS if each not in kept]
    if not lost:
        return
    reason = Precondition(
        "one-side-only",
        f"this Prometheus keeps no series of the reporter {lost[0]}: its scrape job drops them",
        f'istio_requests_total{{reporter="{lost[0]}"}}',
        f'istio_requests_total{{reporter!="{lost[0]}"}}',
    )
    for job in jobs:
        sides = set(NAMED.findall(job.promql))
        if job.entry is None and sides and not any(re.fullmatch(side, one) for side in sides for one in kept):
            shown = (job.dashboard.title, job.panel.id, job.target.ref, job.target.digest)
            job.entry = Expectation(*shown, reason, optional=True)

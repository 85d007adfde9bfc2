"""Istio's dashboards as they are shipped, against the lists that say which of their queries may be empty."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from meshlab.checks.grafana import LEAST_WITH_DATA, TITLES
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.distribution import locate
from meshlab.observability.dashboards.expected import read_expectations
from meshlab.observability.dashboards.model import Dashboard
from meshlab.observability.dashboards.read import read_dashboards, scrape_interval
from tests.live.conftest import Ran

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def shipped(kept_lab: Ran, machine: Machine) -> Sequence[Dashboard]:
    """Those of the Istio that the kept lab compiled."""
    return read_dashboards(locate(LabConfig(), machine=machine).samples)


def test_all_of_them_are_read(shipped: Sequence[Dashboard], machine: Machine) -> None:
    assert set(TITLES.values()) <= {dashboard.title for dashboard in shipped}
    assert (len(shipped), sum(1 for dashboard in shipped for _ in dashboard.targets())) == (7, 236)
    assert scrape_interval(locate(LabConfig(), machine=machine).samples) == 15


def test_the_lists_name_queries_that_are_shipped_and_leave_enough_to_be_seen(
    shipped: Sequence[Dashboard],
) -> None:
    for kind in ("embedded", "release"):
        lists = read_expectations(kind, "default", domain="cluster.local")  # type: ignore[arg-type]
        assert lists.unknown(shipped) == []
    lists = read_expectations("embedded", "default", domain="cluster.local").without(
        "no-ingress-traffic"
    )  # a lab sends some itself
    assert not any(entry.optional for entry in lists.entries)
    never = sum(not entry.filled_by for entry in lists.entries)
    assert 236 - never == LEAST_WITH_DATA
    for dashboard in shipped:
        variables = {variable.name for variable in dashboard.variables}
        for choice in lists.choices_of(dashboard):
            assert set(choice.variables) <= variables

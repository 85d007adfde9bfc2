"""A second lab over the kept one: it adopts the cluster, proves it again, and leaves the machine as it was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live import host
from tests.live.conftest import Ran, differs, down, run_lab

pytestmark = pytest.mark.live
# The record is of a run on a new cluster. Here the ingress gateway still asks for the secrets that the first lab gave it.
OF_THE_FIRST_LAB = {"evidence: istio.proxies-synced: proxies[] > SDS is new"}


def test_a_second_run_adopts_the_cluster_and_leaves_nothing(
    kept_lab: Ran, clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    again = run_lab(tmp_path / "runs")
    assert again.code == 0, again.output[-6000:]
    assert again.directory is not None
    assert json.loads((again.directory / "evidence" / "cluster.json").read_text())["adopted"] is True
    assert set(differs("full-lab", again.directory)) <= OF_THE_FIRST_LAB
    assert again.check("uninstall.nothing-left")["verdict"] == "pass"
    left = again.check("teardown.nothing-left")
    assert left["verdict"] == "pass"
    assert sum(left["evidence"]["before"].values()) > 100
    assert sum(left["evidence"]["after"].values()) == 0
    assert host.difference(clean_host, host.snapshot()) == {}
    assert down().returncode == 0  # with nothing there

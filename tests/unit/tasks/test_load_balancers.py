"""What a cluster that is paid for adds to the run."""

from pathlib import Path

import pytest

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.config.settings import LabConfig, Machine
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import create, read_journal
from tasks import load_balancers
from tasks.load_balancers import show_status
from tests.fakes.gke.emulator import running


def test_a_cluster_that_came_otherwise_than_asked_for_is_a_warning_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(load_balancers, "publish_table", lambda *told: None)  # Prefect's server has it
    with running() as emulator:
        config = LabConfig.model_validate(
            {"cluster": "gke", "gke": emulator.settings(spot=True).model_dump()}
        )
        run = begin_context(create(tmp_path / "runs", "full-lab"), config, Machine.here()).run
        cluster = GkeCluster(config.gke, Machine.here(), run_id=run.run_id)
        emulator.books.create(cluster.place.parent, _other(cluster))
        show_status(run, config)
        warned = [each["text"] for each in read_journal(run) if each["event"] == "warning"]
    assert warned == ["the cluster is not as it was asked for: spot nodes: asked for True, got none"]


def _other(cluster: GkeCluster):
    from meshlab.clusters.gke.request import Version, cluster_of

    version = Version("1.34.1-gke.2037000")
    return cluster_of(cluster.settings.model_copy(update={"spot": False}), version, {})

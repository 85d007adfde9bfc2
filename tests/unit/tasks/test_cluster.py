"""What a run that leaves its cluster up still owes, and that one which compiles says so."""

from pathlib import Path

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import child as local_child
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.progress import Progress, Update
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import create, read_journal
from meshlab.run.ledger import Entry, Ledger
from tasks import cluster
from tasks.cluster import release_cluster, start_cluster

MADE = Entry("cluster", "my-istio-cluster", "gke:projects/p/locations/us-central1-b")
BALANCER = Entry("load-balancer", "istio-system/istio-ingressgateway", f"{MADE.where}/clusters/{MADE.name}")


@pytest.mark.parametrize(("provider", "left"), [("gke", (MADE, BALANCER)), ("existing", ())])
def test_a_kept_cluster_that_is_paid_for_stays_in_the_ledger(
    provider: str, left: tuple[Entry, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = LabConfig.model_validate({"cluster": provider})
    run = begin_context(create(tmp_path / "runs", "full-lab"), config, Machine.here()).run
    ledger = Ledger.open(Machine.here(), run)
    for entry in (MADE, BALANCER):
        ledger.intend(entry)
    release_cluster.fn(run, config)
    assert ledger.entries() == left
    assert ledger.close() is not bool(left)


def test_the_journal_says_that_the_cluster_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a run is not compared with others of which nothing was, see `meshlab.cli.earlier`."""

    def follow(child: local_child.UpChild, *, progress: Progress, stop: object) -> ClusterRef:
        progress(Update("compile cluster", detail="looking up what has to be compiled"))
        progress(Update("compile cluster", 3, 3, "done"))
        return ClusterRef("local", "x", tmp_path / "kubeconfig", "x", nodes=3)

    monkeypatch.setattr(local_child, "follow", follow)
    monkeypatch.setattr(cluster, "log_info", lambda text: None)
    config, machine = LabConfig(), Machine.here({"HOME": str(tmp_path)})
    run = begin_context(create(tmp_path / "runs", "full-lab"), config, machine).run
    child = local_child.UpChild(1, 0.0, tmp_path / "report", tmp_path / "log")
    start_cluster.fn(run, config, child=child)
    noted = [(each["what"], each["state"]) for each in read_journal(run) if each["event"] == "compile"]
    assert noted == [("compile cluster", "started"), ("compile cluster", "done")]

"""What a run that leaves its cluster up still owes."""

from pathlib import Path

import pytest

from meshlab.config.settings import LabConfig, Machine
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import create
from meshlab.run.ledger import Entry, Ledger
from tasks.cluster import release_cluster

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

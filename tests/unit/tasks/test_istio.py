"""What an installation writes down before it begins, and when it is taken out again."""

from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import Interrupted
from meshlab.istio.distribution import Distribution
from meshlab.lifecycle import context
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Entry, Ledger
from tasks import common, istio
from tasks.teardown import istio_begun
from tests.fakes.kube import ISTIOD, FakeKube

CLUSTER = ClusterRef("existing", "prod", Path("kubeconfig"), "prod", adopted=True)
DISTRIBUTION = Distribution("embedded", Path("istioctl"), "1.2.3", Path("samples"))
CONFIG = LabConfig(cluster="existing", allow_changes=True)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "full-lab"), CONFIG, Machine.here()).run


def begin(run: RunRef, kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Begin to install; a signal comes. Returns what the installation was asked."""
    asked: dict[str, Any] = {}

    def cut(*_: Any, **words: Any) -> None:
        asked.update(words)
        raise Interrupted(15)

    monkeypatch.setattr(istio, "kube_of", lambda _: kube)
    monkeypatch.setattr(istio, "install", cut)
    with pytest.raises(Interrupted):
        istio.install_istio.fn(run, CONFIG, CLUSTER, DISTRIBUTION)
    return asked


def test_an_istio_of_others_is_in_no_ledger_whenever_the_run_is_cut_off(
    run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begin(run, FakeKube([ISTIOD]), monkeypatch)["begun"] is False
    assert Ledger.open(Machine.here(), run).entries() == () and not istio_begun(run, CONFIG)


def test_an_installation_that_was_cut_off_is_owed_and_gone_on_with(
    run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    assert begin(run, kube, monkeypatch)["begun"] is True
    assert Ledger.open(Machine.here(), run).entries() == (Entry("istio", "prod", CLUSTER.endpoint),)
    kube.put(ISTIOD)  # half made
    assert begin(run, kube, monkeypatch)["begun"] is True
    assert istio_begun(run, CONFIG)
    assert not istio_begun(run, LabConfig())  # a cluster of ours goes with all that is in it


@pytest.mark.parametrize("whose", ["ours", "somebody's"])
def test_the_runs_own_namespace_alone_gets_the_labels_that_the_cluster_demands(
    whose: str, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = {"meshlab/run": run.run_id} if whose == "ours" else {"owner": "shop"}
    meta = {"name": "meshlab", "labels": had}
    kube = FakeKube([ISTIOD, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}])
    for module in (common, context, istio):
        monkeypatch.setattr(module, "kube_of", lambda _: kube)
    config = LabConfig.model_validate({"cluster": "existing", "app": {"labels": {"team": "mesh"}}})
    istio.enable_injection.fn(run, config, CLUSTER)
    found = kube.get("v1", "Namespace", "meshlab")
    demanded = {"team": "mesh"} if whose == "ours" else {}
    assert found is not None
    assert found["metadata"]["labels"] == {**had, **demanded, "istio-injection": "enabled"}

"""The namespace that sends during an upgrade is one that the run made: somebody's is refused, and never removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.kube.applied import applied
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import RUN_LABEL, labels_of
from meshlab.lifecycle.context import begin_context, context_of
from meshlab.run.journal import RunRef, create
from tasks import common, upgrade_traffic
from tasks.upgrade_traffic import begin_upgrade_traffic, remove_upgrade_client
from tests.fakes.mesh import make_object
from tests.fakes.rollout import RollingMesh, two_namespaces

CLUSTER = ClusterRef("existing", "c", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0", Path("samples"))
CONFIG = LabConfig.model_validate(
    {"cluster": "existing", "allow_changes": True, "app": {"namespace": "shop"}}
)
HOME = "shop-upgrade"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "upgrade"), CONFIG, Machine.here()).run


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> RollingMesh:
    mesh = two_namespaces()
    for module in (common, upgrade_traffic):
        monkeypatch.setattr(module, "kube_of", lambda _: mesh)

    def deploy(*_: object) -> None:
        raise IstioError("far enough")

    monkeypatch.setattr(upgrade_traffic, "_deploy", deploy)
    return mesh


def begin(run: RunRef, match: str) -> None:
    with pytest.raises(IstioError, match=match):
        begin_upgrade_traffic.fn(run, CONFIG, CLUSTER, ISTIO)


def test_a_namespace_of_somebody_is_refused_and_stays_as_it_is(run: RunRef, mesh: RollingMesh) -> None:
    mesh.put(make_object("v1", "Namespace", HOME, team="b"))
    begin(run, HOME)
    remove_upgrade_client.fn(run, CONFIG, CLUSTER)
    assert mesh.calls == []
    assert mesh.get("v1", "Namespace", HOME)["metadata"]["labels"] == {"team": "b"}


def test_its_own_is_labelled_in_the_ledger_first_and_removed(run: RunRef, mesh: RollingMesh) -> None:
    seen: list[bool] = []
    ref = ObjectRef("v1", "Namespace", None, HOME)

    def look(verb: str, kind: str, name: str) -> None:
        if name == HOME:
            seen.append(ref in applied(mesh, context_of(run).ledger))

    mesh.refuse = look
    begin(run, "far enough")
    assert seen == [True]
    labels = mesh.get("v1", "Namespace", HOME)["metadata"]["labels"]
    assert labels == {**labels_of(run), "istio-injection": "enabled"}
    remove_upgrade_client.fn(run, CONFIG, CLUSTER)
    assert mesh.get("v1", "Namespace", HOME) is None
    remove_upgrade_client.fn(run, CONFIG, CLUSTER)


def test_what_an_earlier_run_of_ours_left_becomes_this_ones(run: RunRef, mesh: RollingMesh) -> None:
    left = make_object("v1", "Namespace", HOME)
    left["metadata"]["labels"] = {**labels_of(run), RUN_LABEL: "an-earlier-one", "istio-injection": "enabled"}
    mesh.put(left)
    remove_upgrade_client.fn(run, CONFIG, CLUSTER)
    assert mesh.get("v1", "Namespace", HOME) is not None, "it is not this run's yet"
    begin(run, "far enough")
    assert mesh.get("v1", "Namespace", HOME)["metadata"]["labels"][RUN_LABEL] == run.run_id
    remove_upgrade_client.fn(run, CONFIG, CLUSTER)
    assert mesh.get("v1", "Namespace", HOME) is None

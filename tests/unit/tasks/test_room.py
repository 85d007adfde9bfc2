"""On an open mesh there is no step; on a closed one each object is in the ledger before it is applied."""

from pathlib import Path

import pytest

from meshlab.app import room as own
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import KubeError
from meshlab.kube.applied import applied
from meshlab.kube.changes import RUN_LABEL
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.ledger import Ledger
from tasks import common, room
from tests.fakes.istio_objects import istiod, mesh_map
from tests.fakes.kube import FakeKube

CLUSTER = ClusterRef("existing", "prod", Path("kubeconfig"), "prod", adopted=True)
CONFIG = LabConfig(cluster="existing")
POLICY = ("security.istio.io/v1", "AuthorizationPolicy")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "nightly-validation"), CONFIG, Machine.here()).run


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    found = FakeKube([istiod(), mesh_map({"rootNamespace": "mesh-config", "trustDomain": "corp.example"})])
    found.kinds[POLICY] = True
    found.kinds["admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"] = False
    for module in (room, common):
        monkeypatch.setattr(module, "kube_of", lambda _: found)
    monkeypatch.setattr(room, "allow_own_calls", room.allow_own_calls.fn)  # without Prefect's engine
    return found


def close(kube: FakeKube) -> None:
    meta = {"name": "allow-nothing", "namespace": "mesh-config"}
    kube.put({"apiVersion": POLICY[0], "kind": POLICY[1], "metadata": meta, "spec": {}})


def test_an_open_mesh_stays_as_it_is_and_the_run_has_no_such_step(run: RunRef, kube: FakeKube) -> None:
    assert room.make_room(run, CONFIG, CLUSTER) == ()
    assert kube.calls == [] and not [each for each in read_journal(run) if each["event"] == "step"]


def test_a_closed_mesh_gets_our_policy_in_our_namespace_noted_first(run: RunRef, kube: FakeKube) -> None:
    close(kube)
    refs = room.make_room(run, CONFIG, CLUSTER)
    names = {f"{own.CALLS}-{each.name}" for each in own.SERVERS}
    assert {(ref.kind, ref.namespace, ref.name) for ref in refs} == {(POLICY[1], "meshlab", n) for n in names}
    stored = kube.get(*POLICY, f"{own.CALLS}-productpage-v1", "meshlab")
    assert stored is not None and stored["metadata"]["labels"]["meshlab/run"] == run.run_id
    principals = stored["spec"]["rules"][0]["from"][0]["source"]["principals"]
    assert principals[0] == "corp.example/ns/meshlab/sa/sleep"
    assert set(applied(kube, Ledger.open(Machine.here(), run))) == set(refs)  # type: ignore[arg-type]


def test_the_policies_have_the_labels_that_the_cluster_demands(run: RunRef, kube: FakeKube) -> None:
    close(kube)
    config = LabConfig.model_validate(
        {"cluster": "existing", "app": {"labels": {"team": "mesh", RUN_LABEL: "x"}}}
    )
    room.make_room(run, config, CLUSTER)
    found = [each["metadata"]["labels"] for each in kube.objects(*POLICY, "meshlab")]
    assert found and {each["team"] for each in found} == {"mesh"}
    assert {each[RUN_LABEL] for each in found} == {run.run_id}, "whose they are is the run's to say"


def test_what_was_to_be_applied_when_the_run_was_cut_off_is_known(run: RunRef, kube: FakeKube) -> None:
    def refuse(verb: str, kind: str, name: str) -> None:
        raise KubeError("gone", status=403)

    close(kube)
    kube.refuse = refuse
    with pytest.raises(KubeError):
        room.make_room(run, CONFIG, CLUSTER)
    [ref] = applied(kube, Ledger.open(Machine.here(), run))  # type: ignore[arg-type]
    assert ref.name == f"{own.CALLS}-productpage-v1"

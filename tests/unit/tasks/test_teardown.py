"""A run that is cut off at any step of a cluster that stays: what it had made by then is removed."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks.leftovers import uninstall_nothing_left
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import MeshlabError, WaitTimeout
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import InstallResult
from meshlab.istio.tracing import API_VERSION, KIND, Before, note
from meshlab.kube.apply import ObjectRef, apply
from meshlab.lifecycle import context
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.results import Verdict
from tasks import addons, bookinfo, common, teardown
from tasks import istio as istio_tasks
from tasks.addons import restore_tracing
from tasks.bookinfo import list_objects, remove_objects
from tasks.common import lab_task
from tasks.teardown import CreatedResources, outcome, remove_istio
from tests.fakes.clock import FakeClock
from tests.fakes.kube import ISTIOD, FakeKube
from tests.fakes.mesh import FakeMesh, make_object
from tests.fakes.tasks import called_here

CLUSTER = ClusterRef("existing", "prod", Path("kubeconfig"), "prod", adopted=True)
CONFIG = LabConfig.model_validate({"cluster": "existing", "app": {"namespace": "shop"}})
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "nightly-validation"), CONFIG, Machine.here()).run


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    kube = FakeKube([NAMESPACE, ISTIOD])
    kube.kinds[API_VERSION, KIND] = True
    for module in (addons, bookinfo, common, context, istio_tasks):
        monkeypatch.setattr(module, "kube_of", lambda _: kube)
    return kube


def test_what_a_step_had_applied_when_it_was_cut_off_is_removed(run: RunRef, kube: FakeKube) -> None:
    @lab_task("deploy", records_objects=True)
    def deploy(run: RunRef, config: LabConfig, cluster: ClusterRef) -> None:
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "page"}}
        apply(kube, [service], namespace="shop", clock=FakeClock())  # type: ignore[arg-type]
        raise KeyboardInterrupt

    ledger = Ledger.open(Machine.here(), run)
    ledger.intend(Entry("app", "shop", CLUSTER.endpoint))
    with pytest.raises(KeyboardInterrupt):
        deploy.fn(run, CONFIG, CLUSTER)
    assert kube.get("v1", "Service", "page", "shop") is not None
    assert remove_objects.fn(run, CONFIG, CLUSTER, [], False).verdict is Verdict.PASS
    assert kube.get("v1", "Service", "page", "shop") is None and ledger.entries() == ()
    assert kube.get("v1", "Namespace", "shop") is not None


def test_what_was_there_before_a_removal_that_was_cut_off_is_the_control(run: RunRef, kube: FakeKube) -> None:
    refs = [ObjectRef("v1", "Service", "shop", name) for name in ("page", "gone")]
    kube.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "page", "namespace": "shop"}})
    before = list_objects.fn(run, CONFIG, CLUSTER, refs)
    assert before == {"Service": ("page",)}
    kube.delete("v1", "Service", "page", "shop", foreground=False)
    assert remove_objects.fn(run, CONFIG, CLUSTER, refs, False).verdict is Verdict.BROKEN
    assert remove_objects.fn(run, CONFIG, CLUSTER, refs, False, before).verdict is Verdict.PASS


def test_a_run_that_was_cut_off_before_it_applied_anything_claims_nothing(
    run: RunRef, kube: FakeKube
) -> None:
    check = remove_objects.fn(run, CONFIG, CLUSTER, [], False)
    assert (check.verdict, check.reason) == (Verdict.SKIPPED, "the run had applied nothing")
    assert [event["verdict"] for event in read_journal(run) if event["event"] == "check"] == ["skipped"]


@pytest.mark.parametrize(
    ("labels", "owed"),
    [({}, "label"), ({"istio-injection": "enabled"}, ""), ({"meshlab/run": "this"}, "object")],
)
def test_a_namespace_is_owed_as_far_as_it_is_changed(
    labels: dict[str, str], owed: str, run: RunRef, kube: FakeKube
) -> None:
    labels = {key: run.run_id if value == "this" else value for key, value in labels.items()}
    kube.put({**NAMESPACE, "metadata": {"name": "shop", "labels": labels}})
    labelled = istio_tasks.enable_injection.fn(run, CONFIG, CLUSTER)
    assert [entry.kind for entry in Ledger.open(Machine.here(), run).entries()] == ([owed] if owed else [])
    assert (labelled.labelled, bool(labelled.created)) == (owed == "label", owed == "object")


def test_tracing_that_was_being_switched_on_is_put_back(run: RunRef, kube: FakeKube) -> None:
    ledger = Ledger.open(Machine.here(), run)
    for _ in ("once", "a second attempt, which finds what the first has written"):
        note(kube, ledger, Before("shop", "meshlab-tracing", made=True))  # type: ignore[arg-type]
    telemetry = {"name": "meshlab-tracing", "namespace": "shop"}
    kube.put({"apiVersion": API_VERSION, "kind": KIND, "metadata": telemetry, "spec": {}})
    assert len(ledger.entries()) == 1
    restore_tracing.fn(run, CONFIG, CLUSTER, None)
    assert kube.get(API_VERSION, KIND, "meshlab-tracing", "shop") is None
    assert ledger.entries() == ()


ISTIO = Distribution("embedded", Path("istioctl"), "1.2.3", Path("samples"))
INSTALLED = InstallResult(reused=False, profile="default", deployments=("istiod",))


@pytest.mark.parametrize(("left", "verdict"), [("default", "fail"), ("", "pass")])
def test_what_is_left_is_looked_at_though_the_uninstall_failed(
    left: str, verdict: str, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = FakeMesh([make_object("v1", "ConfigMap", "istio-ca-root-cert", "default")])

    def hangs(*_: Any, **__: Any) -> None:
        if not left:
            mesh.store.clear()
        raise WaitTimeout(
            "ConfigMap default/istio-ca-root-cert (example.org/nobody) stays", last="", seconds=1.0
        )

    looks = partial(uninstall_nothing_left, clock=FakeClock())
    monkeypatch.setattr(istio_tasks, "kube_of", lambda _: mesh)
    monkeypatch.setattr(istio_tasks, "uninstall", hangs)
    monkeypatch.setattr(istio_tasks, "uninstall_nothing_left", looks)
    for name in ("list_istio", "uninstall_istio", "check_uninstall"):
        monkeypatch.setattr(teardown, name, called_here(getattr(istio_tasks, name)))
    config = LabConfig.model_validate({"cluster": "existing", "allow_changes": True})
    remove_istio(run, config, CreatedResources(cluster=CLUSTER, istio=ISTIO, mesh=INSTALLED), None)
    events = read_journal(run)
    [check] = [event for event in events if event["event"] == "check"]
    assert (check["id"], check["verdict"]) == ("uninstall.nothing-left", verdict)
    assert "example.org/nobody" in (check["reason"] or check["summary"])
    ended = {event["name"]: event["state"] for event in events if event["event"] == "step"}
    assert ended["uninstall-istio"] == "failed" and ended["check-uninstall"] == "done"


def test_a_step_that_fails_says_why_and_keeps_nothing_from_being_tried(run: RunRef) -> None:
    @lab_task("refused")
    def refused(run: RunRef) -> None:
        raise MeshlabError("it is in use", remedy="end what uses it")

    assert outcome(called_here(refused), run) == (None, "it is in use")  # type: ignore[arg-type]

"""A restart waits for new pods, of each kind of workload, and tells what is missing."""

from __future__ import annotations

import pytest

from meshlab.core.errors import KubeError, WaitTimeout
from meshlab.kube.apply import ObjectRef
from meshlab.kube.restart import ANNOTATION, restart_workload
from tests.fakes.clock import FakeClock
from tests.fakes.rollout import two_namespaces

WEB = ObjectRef("apps/v1", "Deployment", "shop", "web")
CART = ObjectRef("apps/v1", "StatefulSet", "shop", "cart")
LEDGER = ObjectRef("apps/v1", "DaemonSet", "bank", "ledger")


def test_each_kind_gets_a_template_that_differs() -> None:
    mesh = two_namespaces()
    for ref in (WEB, CART, LEDGER):
        restart_workload(mesh, ref, timeout=30, labels={"istio.io/rev": "x"}, clock=FakeClock())
        found = mesh.get("apps/v1", ref.kind, ref.name, ref.namespace)
        meta = found["spec"]["template"]["metadata"]
        assert ANNOTATION in meta["annotations"] and meta["labels"] == {"istio.io/rev": "x"}


@pytest.mark.parametrize(
    ("ref", "status"),
    [
        (CART, {"observedGeneration": 0}),
        (CART, {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "b"}),
        (CART, {"observedGeneration": 1, "readyReplicas": 0}),
        (LEDGER, {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}),
        (
            LEDGER,
            {
                "observedGeneration": 1,
                "desiredNumberScheduled": 1,
                "updatedNumberScheduled": 1,
                "numberAvailable": 0,
            },
        ),
    ],
)
def test_what_is_not_done_is_waited_for(
    ref: ObjectRef, status: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = two_namespaces()
    monkeypatch.setattr(mesh, "roll", lambda *_: None)
    mesh.store["apps/v1", ref.kind, ref.namespace, ref.name]["status"] = status
    with pytest.raises(WaitTimeout):
        restart_workload(mesh, ref, timeout=5, clock=FakeClock())


def test_a_workload_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KubeError):
        restart_workload(two_namespaces(), ObjectRef("apps/v1", "Deployment", "shop", "x"), timeout=5)

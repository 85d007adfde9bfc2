from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.core.errors import InputError, KubeError, WaitTimeout
from meshlab.kube.apply import ObjectRef, apply, delete, read_manifests
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube


def _object(kind: str, name: str, api_version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more}


CRD = _object(
    "CustomResourceDefinition",
    "gateways.networking.istio.io",
    "apiextensions.k8s.io/v1",
    spec={
        "group": "networking.istio.io",
        "scope": "Namespaced",
        "names": {"kind": "Gateway"},
        "versions": [{"name": "v1", "served": True}],
    },
)
GATEWAY = _object("Gateway", "edge", "networking.istio.io/v1")
DEPLOYMENT = _object("Deployment", "web", "apps/v1", spec={"replicas": 1})


def _apply(kube: FakeKube, documents: list[dict[str, Any]], **options: Any) -> tuple[ObjectRef, ...]:
    return apply(kube, documents, clock=FakeClock(), **options)  # type: ignore[arg-type]


def test_order_defaults_labels_and_custom_resources() -> None:
    kube = FakeKube()
    documents = [GATEWAY, DEPLOYMENT, _object("Service", "web"), CRD, _object("Namespace", "shop")]
    refs = _apply(kube, documents, namespace="shop", labels={"run": "r1"})
    assert [ref.kind for ref in refs] == [
        "Namespace",
        "CustomResourceDefinition",
        "Service",
        "Deployment",
        "Gateway",
    ]
    assert refs[0].namespace is None
    assert refs[-1] == ObjectRef("networking.istio.io/v1", "Gateway", "shop", "edge")
    assert all(o["metadata"]["labels"] == {"run": "r1"} for o in kube.store.values())
    assert kube.discoveries == 1
    assert "labels" not in DEPLOYMENT["metadata"]


def test_twice_is_fine() -> None:
    kube = FakeKube()
    assert _apply(kube, [CRD, GATEWAY]) == _apply(kube, [CRD, GATEWAY])


def test_own_namespace_wins_and_server_fields_are_dropped() -> None:
    kube = FakeKube()
    document = _object("Service", "web", status={"x": 1})
    document["metadata"] |= {"namespace": "own", "resourceVersion": "7", "managedFields": []}
    (ref,) = _apply(kube, [document], namespace="other")
    assert ref.namespace == "own"
    (stored,) = kube.store.values()
    assert "status" not in stored
    assert stored["metadata"] == {"name": "web", "namespace": "own"}


def test_lists_are_taken_apart() -> None:
    kube = FakeKube()
    refs = _apply(
        kube,
        [{"apiVersion": "v1", "kind": "List", "items": [_object("Service", "b"), _object("Service", "a")]}],
    )
    assert [ref.name for ref in refs] == ["b", "a"]


def test_obstacle_that_passes_is_waited_out() -> None:
    kube = FakeKube()
    refusals = [KubeError("failed calling webhook", status=500, retryable=True)] * 2

    def refuse(verb: str, kind: str, name: str) -> None:
        if refusals:
            raise refusals.pop()

    kube.refuse = refuse
    assert len(_apply(kube, [DEPLOYMENT])) == 1
    assert kube.calls == [("apply", "Deployment", "web")] * 3


def test_refusal_is_raised_at_once() -> None:
    kube = FakeKube()

    def refuse(verb: str, kind: str, name: str) -> None:
        raise KubeError("invalid", status=422)

    kube.refuse = refuse
    with pytest.raises(KubeError, match="invalid"):
        _apply(kube, [DEPLOYMENT])
    assert len(kube.calls) == 1


def test_namespace_that_is_still_being_deleted_is_not_taken_for_applied() -> None:
    class Deleting(FakeKube):
        def server_side_apply(self, document: Any, **options: Any) -> dict[str, Any]:
            stored = super().server_side_apply(document, **options)
            stored["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return stored

    with pytest.raises(WaitTimeout, match="still being deleted"):
        _apply(Deleting(), [_object("Namespace", "shop")], timeout=3)


def test_unknown_kind() -> None:
    with pytest.raises(KubeError) as caught:
        _apply(FakeKube(), [GATEWAY])
    assert caught.value.status == 404


def test_crd_whose_name_is_taken_fails_fast() -> None:
    class Refusing(FakeKube):
        def objects(self, api_version: str, kind: str, *args: Any, **options: Any) -> list[dict[str, Any]]:
            found = super().objects(api_version, kind, *args, **options)
            for crd in found:
                crd["status"] = {
                    "conditions": [{"type": "NamesAccepted", "status": "False", "message": "in use"}]
                }
            return found

    with pytest.raises(KubeError, match="in use"):
        _apply(Refusing(), [CRD])


def test_delete_in_reverse_and_again() -> None:
    kube = FakeKube()
    refs = _apply(kube, [_object("Namespace", "shop"), CRD, GATEWAY, DEPLOYMENT], namespace="shop")
    gone = delete(kube, refs, clock=FakeClock())  # type: ignore[arg-type]
    assert [ref.kind for ref in gone] == ["Gateway", "Deployment", "CustomResourceDefinition", "Namespace"]
    assert not kube.store
    assert delete(kube, refs, clock=FakeClock()) == ()  # type: ignore[arg-type]


def test_delete_names_what_holds_an_object() -> None:
    class Stuck(FakeKube):
        def delete(self, *args: Any, **options: Any) -> bool:
            return True

    held = _object("ConfigMap", "c")
    held["metadata"] |= {"namespace": "n", "finalizers": ["example.org/hold"]}
    with pytest.raises(WaitTimeout, match=r"ConfigMap n/c \(example.org/hold\)"):
        delete(Stuck([held]), [ObjectRef("v1", "ConfigMap", "n", "c")], clock=FakeClock(), timeout=5)  # type: ignore[arg-type]


def test_read_manifests_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\n---\n")
    (tmp_path / "a.yml").write_text(
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}]\n"
    )
    (tmp_path / "notes.txt").write_text("kind: nothing")
    assert [d["kind"] for d in read_manifests(tmp_path)] == ["ConfigMap", "Service"]


def test_read_manifests_names_every_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text("hello\n---\napiVersion: v1\nkind: Pod\nmetadata: {generateName: x}\n")
    with pytest.raises(InputError) as caught:
        read_manifests(tmp_path)
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError):
        read_manifests(tmp_path / "missing.yaml")

"""Whatever a stage changed is as it was afterwards, also when the stage or the run dies."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import KubeError
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import KIND, Changes, not_asked_to_go, restore_left, undo_of
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Entry, Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube

MAP = ObjectRef("v1", "ConfigMap", "default", "mesh")


def config_map(name: str = "mesh", **data: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def stored(**data: str) -> dict:
    document = config_map(**data)
    document["metadata"] |= {"resourceVersion": "7", "uid": "u", "labels": {"app": "theirs"}}
    return document


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "full-lab")


@pytest.fixture
def ledger(tmp_path: Path, run: RunRef) -> Ledger:
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), run)


def changes(kube: FakeKube, ledger: Ledger, run: RunRef) -> Changes:
    return Changes(kube, ledger, run, clock=FakeClock())


def without_server_set(kube: FakeKube) -> dict:
    found = copy.deepcopy(kube.store)
    for each in found.values():
        each["metadata"] = {k: v for k, v in each["metadata"].items() if k not in ("resourceVersion", "uid")}
    return found


def test_what_was_not_there_goes_and_carries_our_labels(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube()
    with changes(kube, ledger, run) as mine:
        assert mine.apply(config_map(a="1")) == (MAP,)
        [found] = kube.objects("v1", "ConfigMap")
        assert found["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "meshlab",
            "meshlab/run": run.run_id,
        }
        assert [entry.kind for entry in ledger.entries()] == [KIND]
    assert kube.store == {}
    assert ledger.entries() == ()


def test_what_was_there_comes_back_as_it_was(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(a="1", b="2"), config_map("other", x="1")])
    before = without_server_set(kube)
    with changes(kube, ledger, run) as mine:
        mine.apply(stored(a="changed") | {"metadata": {"name": "mesh", "namespace": "default"}})
        kube.store["v1", "ConfigMap", "default", "mesh"]["metadata"]["resourceVersion"] = "8"
        mine.delete(ObjectRef("v1", "ConfigMap", "default", "other"))
        assert kube.get("v1", "ConfigMap", "other", "default") is None
    assert without_server_set(kube) == before


def test_a_patch_is_taken_back_field_by_field(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(a="1", b="2")])
    with changes(kube, ledger, run) as mine:
        mine.patch(MAP, {"data": {"a": "changed", "c": "new", "b": None}})
        assert kube.get("v1", "ConfigMap", "mesh", "default")["data"] == {"a": "changed", "c": "new"}
        kube.store["v1", "ConfigMap", "default", "mesh"]["data"]["theirs"] = "kept"  # another writer's
    assert kube.get("v1", "ConfigMap", "mesh", "default")["data"] == {"a": "1", "b": "2", "theirs": "kept"}


def test_the_ledger_is_written_before_the_change(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(a="1")])
    noted: list[int] = []
    kube.refuse = lambda *_: noted.append(len(ledger.entries()))
    mine = changes(kube, ledger, run)
    mine.apply(config_map(a="2"))
    mine.patch(MAP, {"data": {"a": "3"}})
    mine.delete(MAP)
    assert noted == [1, 2, 3]
    mine.restore()
    assert kube.get("v1", "ConfigMap", "mesh", "default")["data"] == {"a": "1"}


def test_restoring_twice_is_fine_and_a_failure_of_the_stage_restores(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube()
    mine = changes(kube, ledger, run)
    with pytest.raises(RuntimeError, match="the stage broke"), mine:
        mine.apply(config_map(a="1"))
        raise RuntimeError("the stage broke")
    assert kube.store == {}
    assert mine.restore() == ()


def test_what_a_killed_run_left_is_put_back_from_the_ledger_alone(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(a="1")])
    elsewhere = Entry(KIND, "ConfigMap default/x", "https://other.test", json.dumps({"before": None}))
    ledger.intend(elsewhere)
    mine = changes(kube, ledger, run)
    mine.apply(config_map(a="2"), config_map("new", a="1"))
    kube.store["v1", "ConfigMap", "default", "mesh"]["metadata"]["resourceVersion"] = "9"
    again = Ledger(ledger.path)
    restored = restore_left(kube, again, clock=FakeClock())
    assert {ref.name for ref in restored} == {"mesh", "new"}
    assert [key[3] for key in kube.store] == ["mesh"]
    assert kube.get("v1", "ConfigMap", "mesh", "default")["metadata"]["labels"] == {"app": "theirs"}
    assert again.entries() == (elsewhere,)
    assert restore_left(kube, again, clock=FakeClock()) == ()


def test_one_object_that_can_not_be_put_back_does_not_keep_the_others(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(a="1")])
    mine = changes(kube, ledger, run)
    mine.apply(config_map("new"))
    mine.patch(MAP, {"data": {"a": "2"}})

    def refuse(verb: str, kind: str, name: str) -> None:
        if verb == "patch":
            raise KubeError("no", status=403)

    kube.refuse = refuse
    with pytest.raises(KubeError, match="not everything could be put back: no"):
        mine.restore()
    assert kube.get("v1", "ConfigMap", "new", "default") is None
    assert len(ledger.entries()) == 1
    kube.refuse = lambda *_: None
    assert mine.restore() == (MAP,)
    assert kube.get("v1", "ConfigMap", "mesh", "default")["data"] == {"a": "1"}


def test_an_object_that_another_writer_changes_meanwhile_is_tried_again(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(a="1")])
    mine = changes(kube, ledger, run)
    mine.patch(MAP, {"data": {"a": "2"}})
    conflicts = [KubeError("conflict", status=409, retryable=True)]

    def refuse(verb: str, kind: str, name: str) -> None:
        if conflicts:
            raise conflicts.pop()

    kube.refuse = refuse
    assert mine.restore() == (MAP,)


def test_a_namespaced_object_must_name_its_namespace(ledger: Ledger, run: RunRef) -> None:
    with pytest.raises(ValueError, match="names no namespace"):
        changes(FakeKube(), ledger, run).apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mesh"}}
        )
    assert ledger.entries() == ()


def test_the_undo_of_a_patch_restores_whole_lists_and_removes_what_is_new() -> None:
    before = {"spec": {"ports": [1, 2], "mode": "a", "deep": {"x": 1}}}
    patch = {"spec": {"ports": [3], "mode": {"now": "a mapping"}, "deep": None, "new": {"y": 2}}}
    assert undo_of(patch, before) == {"spec": {"ports": [1, 2], "mode": "a", "deep": {"x": 1}, "new": None}}


def test_what_somebody_else_changes_comes_back_as_it_was(run: RunRef, ledger: Ledger) -> None:
    kube = FakeKube([stored(mesh="old")])
    changes(kube, ledger, run).keep(MAP)
    kube.put({**stored(mesh="new"), "metadata": {**stored()["metadata"], "labels": {"app": "others"}}})
    assert restore_left(kube, ledger, clock=FakeClock()) == (MAP,)  # type: ignore[arg-type]
    found = kube.get("v1", "ConfigMap", "mesh", "default")
    assert found["data"] == {"mesh": "old"} and found["metadata"]["labels"] == {"app": "theirs"}


def test_what_nobody_has_asked_to_go_is_named(ledger: Ledger, run: RunRef) -> None:
    kube = FakeKube([stored(), *({**config_map(name)} for name in ("other", "third"))])
    planted = changes(kube, ledger, run)
    for name in ("mesh", "other", "third"):
        planted.patch(replace(MAP, name=name), {"metadata": {"finalizers": ["a/b"]}})
    entries = (*ledger.entries(), Entry("mount", "/state/lab", "lab"))
    assert len(not_asked_to_go(kube, entries)) == 3
    kube.delete("v1", "ConfigMap", "other", "default")
    assert not_asked_to_go(kube, entries) == ("ConfigMap default/mesh", "ConfigMap default/third")
    planted.restore()
    assert not_asked_to_go(kube, entries) == ("ConfigMap default/mesh", "ConfigMap default/third")

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlab.clusters.local import cluster as cluster_module
from meshlab.clusters.local import containerd, golden, inventory, materials
from meshlab.clusters.local.archives import ImageArchive
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer
from meshlab.clusters.local.state import Record
from meshlab.config.settings import LocalSettings
from meshlab.core.errors import BuildError, ClusterBusyError, ClusterError, ProcessError
from tests.fakes.runner import FakeRunner
from tests.unit.clusters.local.cluster_fixtures import machine_in

SETTINGS = LocalSettings(name="unit", nodes=2, network="10.250")


def make(folder: Path, run_id: str = "", settings: LocalSettings = SETTINGS) -> LocalCluster:
    return LocalCluster(settings, machine_in(folder), run_id=run_id, runner=FakeRunner())


def running(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, **nodes: str) -> None:
    """Let the cluster look as if it had been made; nodes: name → what its API says."""
    layout = cluster.layout
    record = Record(cluster._key(), 2, "10.250", layout.namespaces, layout.host_link, layout.cgroup)
    cluster.state.write(record)
    cluster.state.note_started(4.0)
    layout.kubeconfig.touch()
    layout.status.write_text(json.dumps({"state": "running", "components": {}}))
    monkeypatch.setattr(inventory, "launched", lambda *_: 1)
    monkeypatch.setattr(cluster_module.Api, "nodes", lambda _: nodes)
    monkeypatch.setattr(cluster_module, "ADOPT_TIMEOUT", 0.05)

    def refuse(*_: object, **__: object) -> None:
        raise BuildError("nothing is compiled in this test")

    monkeypatch.setattr(materials, "gather", refuse)


def test_a_healthy_cluster_of_the_same_making_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make(tmp_path)
    running(cluster, monkeypatch, a="Ready", b="Ready")
    ref = cluster.up()
    assert ref.adopted and ref.started_seconds is None and ref.nodes == 2
    assert ref.endpoint == "https://10.250.0.1:6443" and ref.kubeconfig == cluster.layout.kubeconfig


@pytest.mark.parametrize("spoil", ["node", "key", "status", "unfinished", "dead"])
def test_anything_else_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    cluster = make(tmp_path)
    running(cluster, monkeypatch, a="Ready", b="NotReady" if spoil == "node" else "Ready")
    if spoil == "key":
        monkeypatch.setattr(materials, "key", lambda *_, **__: "another")
    elif spoil == "status":
        cluster.layout.status.write_text(json.dumps({"state": "failed", "components": {}}))
    elif spoil == "unfinished":
        record = Record(cluster._key(), 2, "10.250", (), "", "")
        cluster.state.write(record)
    elif spoil == "dead":
        monkeypatch.setattr(inventory, "launched", lambda *_: None)
    with pytest.raises(BuildError, match="nothing is compiled"):
        cluster.up()


def test_another_runs_cluster_is_neither_taken_nor_removed(tmp_path: Path) -> None:
    make(tmp_path, "run-1").claim()
    for change in (make(tmp_path, "run-2").up, make(tmp_path).up, make(tmp_path, "run-2").down):
        with pytest.raises(ClusterBusyError, match="run-1"):
            change()
    make(tmp_path, "run-1").down()
    make(tmp_path, "run-2").claim()


def test_a_component_that_keeps_exiting_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make(tmp_path)
    cluster.layout.root.mkdir(parents=True)
    failed = {"state": "failed", "components": {}, "failed": "etcd", "reason": "exited with 1: no space"}
    cluster.layout.status.write_text(json.dumps(failed))
    monkeypatch.setattr(inventory, "launched", lambda *_: 1)
    problem = cluster._failure()
    assert (
        isinstance(problem, ClusterError) and "etcd keeps exiting: exited with 1: no space" in problem.message
    )
    assert "etcd.log" in problem.remedy


def test_a_supervisor_that_ended_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make(tmp_path)
    cluster.layout.logs.mkdir(parents=True)
    (cluster.layout.logs / "supervisor.log").write_text("unshare failed: not permitted")
    monkeypatch.setattr(inventory, "launched", lambda *_: None)
    problem = cluster._failure()
    assert problem is not None and "not permitted" in problem.message


def test_images_are_brought_only_to_nodes_that_lack_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make(tmp_path)
    cluster.state.write(cluster._new_record())
    spec = ImageSpec("localhost/x", "1", (Layer.of([Entry("a", data=b"x")]),))
    first, second = (node.socket for node in cluster.layout.nodes)
    held = {first: (spec.reference,), second: ()}
    monkeypatch.setattr(containerd, "image_names", lambda socket, **_: held[socket])
    brought: list[tuple[Path, list[str]]] = []

    def bring(socket: Path, specs: list[ImageSpec], **_: object) -> None:
        brought.append((socket, [one.reference for one in specs]))

    monkeypatch.setattr(golden, "import_into", bring)
    cluster.add_images([spec])
    assert brought == [(second, ["localhost/x:1"])]


def test_logs_are_collected_without_keys(tmp_path: Path) -> None:
    cluster = make(tmp_path)
    for path in (cluster.layout.logs / "etcd.log", cluster.layout.status, cluster.layout.pki / "ca.key"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    found = cluster.collect_logs(tmp_path / "evidence")
    assert sorted(path.name for path in found) == ["etcd.log", "status.json"]
    assert sorted(path.name for path in (tmp_path / "evidence").iterdir()) == ["etcd.log", "status.json"]


def test_an_import_that_fails_on_one_node_leaves_nothing_new_on_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make(tmp_path)
    held = {node.name: {"registry.test/had:1"} for node in cluster.layout.nodes}
    names = {node.socket: node.name for node in cluster.layout.nodes}
    bad = cluster.layout.nodes[-1].name
    brought = [
        ImageArchive(tmp_path / "a.tar", "OCI layout", ("registry.test/had:1", "registry.test/new:1")),
        ImageArchive(tmp_path / "b.tar", "OCI layout", ("registry.test/more:1",)),
    ]

    def take(socket: Path, archive: Path, **words: object) -> None:
        if names[socket] == bad and archive.name == "b.tar":
            raise ProcessError("no space left on device")
        held[names[socket]] |= {each for one in brought if one.path == archive for each in one.images}

    def remove(socket: Path, references: list[str], **words: object) -> None:
        held[names[socket]] -= set(references)

    monkeypatch.setattr(containerd, "image_names", lambda socket, **words: tuple(held[names[socket]]))
    monkeypatch.setattr(containerd, "import_archive", take)
    monkeypatch.setattr(containerd, "remove_images", remove)
    with pytest.raises(ProcessError, match="no space left"):
        cluster.add_archives(brought)
    assert set(map(frozenset, held.values())) == {frozenset({"registry.test/had:1"})}

"""A run's context: made in one place, the same for all its steps, and enough to call a step from a REPL."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.existing import ExistingCluster
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import MeshlabError
from meshlab.lifecycle import context
from meshlab.lifecycle.context import begin_context, context_from_kubeconfig, context_of
from meshlab.run.journal import create
from meshlab.run.ledger import Entry
from tasks import mesh_checks
from tests.fakes.istio_objects import istiod, mesh_map
from tests.fakes.kube import FakeKube


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Machine.here()


def test_every_step_of_a_run_gets_the_same_context(tmp_path: Path, machine: Machine) -> None:
    one, two = create(tmp_path, "full-lab"), create(tmp_path, "full-lab")
    begun = begin_context(one, LabConfig(), machine)
    begin_context(two, LabConfig(cluster="existing"), machine)
    assert context_of(one) is begun and context_of(two) is not begun
    begun.ledger.intend(Entry("cluster", "meshlab", "local"))
    assert [entry.name for entry in context_of(one).ledger.entries()] == ["meshlab"]
    assert context_of(two).ledger.entries() == ()
    assert isinstance(context_of(two).provider, ExistingCluster)


def test_a_run_of_another_process_has_none_and_the_error_says_how_to_begin_one(tmp_path: Path) -> None:
    with pytest.raises(MeshlabError) as caught:
        context_of(create(tmp_path, "full-lab"))
    assert "begin_context" in caught.value.remedy


def test_a_step_can_be_called_with_a_context_from_a_kubeconfig(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    named = {"name": "team", "context": {"cluster": "team", "user": "me"}}
    kubeconfig.write_text(yaml.safe_dump({"contexts": [named], "current-context": "team"}))
    asked: list[tuple[Path, str | None]] = []

    def connect(path: Path, name: str | None) -> FakeKube:
        asked.append((path, name))
        return FakeKube()

    monkeypatch.setattr(context.Kube, "connect", connect)
    lab, cluster = context_from_kubeconfig(kubeconfig, runs_dir=tmp_path / "runs", machine=machine)
    checks = mesh_checks.check_app.fn(lab.run, lab.config, cluster)
    assert [check.id for check in checks][:2] == ["app.bookinfo", "app.productpage"]
    assert asked == [(kubeconfig, "team")]  # one connection for the whole step


def test_the_facts_of_the_mesh_are_read_once(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube([istiod(), mesh_map({"trustDomain": "corp.example"})])
    monkeypatch.setattr(context, "kube_of", lambda cluster: kube)
    lab = begin_context(create(tmp_path, "full-lab"), LabConfig(), machine)
    cluster = ClusterRef("existing", "prod", tmp_path / "kubeconfig", "prod")
    assert context.mesh_of(lab.run, cluster).trust_domain == "corp.example"
    kube.put(mesh_map({"trustDomain": "other.example"}))
    assert context.mesh_of(lab.run, cluster).trust_domain == "corp.example"
    assert lab.read_mesh_again(cluster).trust_domain == "other.example"
    assert context.mesh_of(lab.run, cluster).trust_domain == "other.example"


def test_a_cluster_made_anew_under_the_same_name_is_connected_to_anew(tmp_path: Path) -> None:
    file, found = tmp_path / "kubeconfig", context.Connections()
    ref = ClusterRef("local", "lab", file, "lab")

    def written(server: str) -> None:
        clusters = [{"name": "c", "cluster": {"server": server}}]
        contexts = [{"name": "lab", "context": {"cluster": "c"}}]
        file.write_text(yaml.safe_dump({"clusters": clusters, "contexts": contexts}))

    written("http://127.0.0.1:1")
    first = found.to(ref)
    assert found.to(ref) is first
    theirs = ClusterRef("existing", "lab", file, "lab")
    kept = found.to(theirs)
    written("http://127.0.0.1:2")
    os.utime(file, ns=(1, 1))
    assert found.to(theirs) is kept, "a run stays with the cluster that it began on"
    assert found.to(ref).host == "http://127.0.0.1:2"
    second = found.to(ref)
    file.unlink()
    assert found.to(ref) is second, "what is gone is not read again"

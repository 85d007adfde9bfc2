"""An addon's image on a local cluster: what was made for this run is used, whatever the nodes have beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local import build, images, materials, web_ui
from meshlab.clusters.local.cluster import LocalCluster
from meshlab.clusters.local.oci import ImageSpec, RunConfig
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import BuildError
from meshlab.core.progress import Progress, Update
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import create, read_journal
from tasks import addons

OLD, NEW = "localhost/meshlab/prometheus:old", "localhost/meshlab/prometheus:new"


@pytest.mark.parametrize("keep", [True, False])
def test_an_image_with_a_page_goes_before_the_one_that_the_nodes_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    tried: list[str] = []

    def no_page(machine: Machine, **words: object) -> Path:
        tried.append("page")
        raise BuildError("no registry answers", remedy="none")

    spec = ImageSpec("localhost/meshlab/prometheus", "new", (), RunConfig())
    monkeypatch.setattr(build, "build", lambda stages, **words: {})
    monkeypatch.setattr(web_ui, "build", no_page)
    monkeypatch.setattr(materials, "addon_images", lambda machine, names, **words: (spec,))
    monkeypatch.setattr(LocalCluster, "add_images", lambda self, specs: tried.extend(s.tag for s in specs))
    monkeypatch.setattr(addons, "log_info", tried.append)
    machine = Machine.here({"HOME": str(tmp_path)})
    run, config = create(tmp_path / "runs", "full-lab"), LabConfig(keep=keep)
    begin_context(run, config, machine)
    cluster = ClusterRef("local", "x", tmp_path / "kubeconfig", "x", images=(OLD,))
    held = addons.bring_image(run, config, cluster, "prometheus")
    assert images.replacement("registry.test/prom/prometheus:v3", held) == NEW
    assert OLD in held and ("page" in tried) is keep
    assert any("no registry answers" in each for each in tried) is keep, "a page that can't be built is told"


def test_the_journal_says_that_an_image_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a run is not compared with others of which nothing was, see `meshlab.cli.earlier`."""

    def compiled(stages: list[str], *, progress: Progress, **words: object) -> dict[str, Path]:
        progress(Update(f"compile {stages[0]}", 0, 3, "2 packages to compile"))
        progress(Update(f"compile {stages[0]}", 3, 3, "done"))
        return {}

    monkeypatch.setattr(build, "build", compiled)
    monkeypatch.setattr(materials, "addon_images", lambda machine, names, **words: ())
    monkeypatch.setattr(LocalCluster, "add_images", lambda self, specs: None)
    run, config = create(tmp_path / "runs", "full-lab"), LabConfig()
    begin_context(run, config, Machine.here({"HOME": str(tmp_path)}))
    addons.bring_image(run, config, ClusterRef("local", "x", tmp_path / "kubeconfig", "x"), "fortio")
    noted = [(each["what"], each["state"]) for each in read_journal(run) if each["event"] == "compile"]
    assert noted == [("compile fortio", "started"), ("compile fortio", "done")]

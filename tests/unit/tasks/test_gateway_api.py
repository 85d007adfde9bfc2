"""Definitions of Gateway API are installed where they are asked for and nobody has any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.distribution import Distribution
from meshlab.istio.gateway_api import CRD, CRD_API
from meshlab.kube.changes import RUN_LABEL
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create
from tasks import gateway_api
from tests.fakes.gateway_definitions import bundle, cluster
from tests.fakes.kube import FakeKube

CLUSTER = ClusterRef("local", "lab", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0-dev", Path("samples"))
RELEASE = Distribution("release", Path("istioctl"), "1.31.1", Path("samples"))
ASKED = LabConfig(security={"gateway_api": True})
NIGHT = LabConfig(cluster="existing", security={"gateway_api": True}, allow_changes=True)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "full-lab"), ASKED, Machine.here()).run


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Go module's source on this machine; returns which modules were asked for."""
    asked: list[str] = []
    folder = tmp_path / "module" / "config" / "crd" / "standard"
    folder.mkdir(parents=True)
    (folder / "all.yaml").write_text(yaml.safe_dump_all(bundle("v1.6.0")))

    def module_dir(name: str, **_: Any) -> Path:
        asked.append(name)
        return tmp_path / "module"

    monkeypatch.setattr(gateway_api.build, "module_dir", module_dir)
    return asked


def installed(run: RunRef, kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> tuple:
    monkeypatch.setattr(gateway_api, "kube_of", lambda _: kube)
    return gateway_api.install_gateway_api.fn(run, ASKED, CLUSTER)


def test_a_cluster_without_any_gets_those_that_istio_depends_on(
    run: RunRef, module: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = cluster([])
    refs = installed(run, kube, monkeypatch)
    assert module == ["sigs.k8s.io/gateway-api"]
    assert len(refs) == 6 and {ref.kind for ref in refs} == {CRD}
    stored = kube.get(CRD_API, CRD, "gateways.gateway.networking.k8s.io")
    assert stored is not None and stored["metadata"]["labels"][RUN_LABEL] == run.run_id
    assert installed(run, kube, monkeypatch) == refs, "what this run has begun is gone on with"


def test_definitions_of_others_are_left_as_they_are(
    run: RunRef, module: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = cluster(bundle("v1.4.1", "gateways"))
    assert installed(run, kube, monkeypatch) == ()
    assert kube.calls == [] and module == []


@pytest.mark.parametrize(
    ("config", "istio"),
    [(LabConfig(), ISTIO), (NIGHT, ISTIO), (ASKED, RELEASE)],
    ids=["not asked for", "a cluster of others", "a release"],
)
def test_without_need_or_leave_there_is_no_step(run: RunRef, config: LabConfig, istio: Distribution) -> None:
    assert gateway_api.make_gateway_api(run, config, CLUSTER, istio) == ()

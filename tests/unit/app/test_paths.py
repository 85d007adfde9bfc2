from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from meshlab.app import paths
from meshlab.app.latency import latency
from meshlab.app.once import RoundResult
from meshlab.app.source import Source
from meshlab.core.errors import IstioError

SAMPLE = """
apiVersion: v1
kind: Service
metadata: {name: details}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: details-v1, labels: {app: details, version: v1}}
spec:
  replicas: 1
  selector: {matchLabels: {app: details, version: v1}}
  template:
    metadata: {labels: {app: details, version: v1}}
    spec: {serviceAccountName: bookinfo-details, containers: [{name: details, image: details:1}]}
"""


@pytest.fixture
def distribution(tmp_path: Path) -> SimpleNamespace:
    file = tmp_path / paths.BOOKINFO
    file.parent.mkdir(parents=True)
    file.write_text(SAMPLE)
    return SimpleNamespace(samples=tmp_path)


def test_the_other_end_is_the_sample_s_own_program_without_a_sidecar(distribution: SimpleNamespace) -> None:
    service, twin = paths.documents(distribution)  # type: ignore[arg-type]
    pod = twin["spec"]["template"]
    assert pod["spec"]["containers"] == [{"name": "details", "image": "details:1"}]
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert twin["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["labels"]["app"] != "details"  # it must not answer for Bookinfo's own


def test_a_sample_without_it_is_named(distribution: SimpleNamespace) -> None:
    documents = [d for d in yaml.safe_load_all(SAMPLE) if d["kind"] == "Service"]
    (distribution.samples / paths.BOOKINFO).write_text(yaml.safe_dump_all(documents))
    with pytest.raises(IstioError, match="details-v1"):
        paths.documents(distribution)  # type: ignore[arg-type]


class Mesh:
    """Answers rounds: with a sidecar's header in the mesh, at 6 and 4 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, meshed: bool = True, status: str = "200") -> None:
        self.rounds: list[tuple[str, int]] = []
        self.meshed, self.status = meshed, status
        monkeypatch.setattr(paths, "find_source", lambda kube, ns, sel: Source(ns, sel, "curl", "uid"))
        monkeypatch.setattr(paths, "n_requests", self.answer)

    def answer(self, kube: object, source: Source, url: str, n: int, **more: object) -> RoundResult:
        inside = "//details." in url
        assert inside == (source.pod == "app=sleep") and more["expect"] == paths.BY_SIDECAR
        self.rounds.append(("mesh" if inside else "outside", n))
        ms = (6.0 if inside else 4.0,) * n
        matched = n if inside and self.meshed else 0
        return RoundResult(n, {self.status: n}, matched, matched, {}, latency(ms), "", ms)


def test_both_ways_are_asked_in_turns_and_the_first_round_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mesh = Mesh(monkeypatch)
    found = paths.compare(None, "shop", rounds=3, each=10)  # type: ignore[arg-type]
    assert mesh.rounds == [("mesh", 5), ("outside", 5), *[("mesh", 10), ("outside", 10)] * 3]
    assert (found.mesh.sent, found.overhead_ms) == (30, 2.0)
    values = {(m.name, m.labels.get("path")): m.value for m in found.measures()}
    assert values["path-p50", "mesh"] == 6.0 and values["path-p99", "outside"] == 4.0
    assert values["path-error-rate", "mesh"] == 0 and values["mesh-overhead-p50", None] == 2.0


def test_a_way_that_leads_past_the_sidecar_is_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    Mesh(monkeypatch, meshed=False)
    with pytest.raises(IstioError, match="0 of 30"):
        paths.compare(None, "shop", rounds=3, each=10)  # type: ignore[arg-type]


def test_what_failed_is_counted_and_has_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    Mesh(monkeypatch, status="503")
    found = paths.compare(None, "shop", rounds=2, each=10)  # type: ignore[arg-type]
    assert (found.mesh.failed, found.mesh.times, found.overhead_ms) == (20, None, None)
    assert {m.name for m in found.measures()} == {"path-error-rate"}

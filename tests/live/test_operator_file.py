"""A whole lab on a mesh that somebody describes: a revision, a trust domain, REGISTRY_ONLY, an egress gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from meshlab.clusters.local.inotify import read_limit
from tests.live import host
from tests.live.conftest import Ran, down, run_lab

pytestmark = [pytest.mark.live, pytest.mark.long]
MESH = {
    "apiVersion": "install.istio.io/v1alpha1",
    "kind": "IstioOperator",
    "spec": {
        "profile": "default",
        "revision": "stable",
        "meshConfig": {
            "trustDomain": "corp.example",
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        },
        "components": {"egressGateways": [{"name": "istio-egressgateway", "enabled": True}]},
    },
}
MORE = 64  # inotify instances that the cluster asks for beyond the machine's own limit


@pytest.fixture(scope="module")
def limit(clean_host: dict[str, list[str]]) -> int:
    """The machine's own limit of inotify instances, before the lab."""
    return read_limit()


@pytest.fixture(scope="module")
def lab(limit: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("described")
    file = folder / "mesh.yaml"
    file.write_text(yaml.safe_dump(MESH))
    words = ["--set", f"istio.operator_file={file}", "--set", f"local.inotify_instances={limit + MORE}"]
    try:
        yield run_lab(folder / "runs", "--keep", *words)
    finally:
        down()


def test_every_check_passes(lab: Ran) -> None:
    assert lab.code == 0, lab.output[-6000:]
    wrong = {each["id"]: each["summary"] for each in lab.result["checks"] if each["verdict"] != "pass"}
    assert set(wrong) == {"kiali.graph", "uninstall.nothing-left", "teardown.nothing-left"}, wrong
    assert all(text.startswith("skipped") for text in wrong.values()), (
        "no image of Kiali, and the lab was kept"
    )


def test_its_facts_are_those_that_were_asked_for(lab: Ran) -> None:
    mesh = lab.result["mesh"]
    assert mesh["trust_domain"] == "corp.example"
    assert [each["revision"] for each in mesh["control_planes"]] == ["stable"]


def test_the_machine_has_its_own_inotify_limit_again(
    lab: Ran, limit: int, clean_host: dict[str, list[str]]
) -> None:
    assert read_limit() == limit + MORE, "the control: the lab that is there has what it asked for"
    assert down().returncode == 0
    assert read_limit() == limit
    assert host.difference(clean_host, host.snapshot()) == {}

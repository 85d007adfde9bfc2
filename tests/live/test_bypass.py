"""Ways around the egress gateway, on a cluster that enforces NetworkPolicies: stopped by one, and served without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.deployment import with_images
from meshlab.checks import bypass
from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.istio.distribution import locate
from meshlab.istio.facts import read_facts
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import Verdict
from meshlab.security.gateways import egress
from meshlab.security.gateways.bypass import BypassProbe
from meshlab.security.gateways.entry import gateway_pods
from meshlab.security.gateways.exit import EgressProbe
from meshlab.security.gateways.ingress import Document
from tests.live import host
from tests.live.conftest import NAME, NETWORK, Ran, down, run_lab

pytestmark = [pytest.mark.live, pytest.mark.long]
SETTINGS = LocalSettings(name=NAME, network=NETWORK, network_policy=True)


@pytest.fixture(scope="module")
def lab(clean_host: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    ran = run_lab(
        tmp_path_factory.mktemp("fenced"),
        "--keep",
        "--set",
        "local.network_policy=true",
        "--set",
        "security.bypass=true",
    )
    yield ran
    down()


@pytest.fixture
def kube(lab: Ran) -> Kube:
    return Kube.connect(Layout.of(SETTINGS, Machine.here()).kubeconfig, NAME)


def test_a_lab_whose_cluster_enforces_policies_proves_it(lab: Ran) -> None:
    check = lab.check(bypass.CHECK)
    assert check["verdict"] == "pass", check
    free, held = (check["evidence"][key] for key in ("without the policy", "with the policy"))
    assert [row["as expected"] for row in free] == [row["as expected"] for row in held] == ["3 of 3"] * 5
    assert [row["expected"] for row in held] == ["stopped"] * 4 + ["200"]
    counted = {
        row["requests"]: (row["destination"], row["gateway's metric"]) for row in check["evidence"]["counted"]
    }
    assert counted == {"without the policy": (15, 3), "with the policy": (3, 3)}
    assert lab.code == 0, lab.output[-3000:]


def test_a_policy_that_lets_one_way_out_turns_it_red(kube: Kube, tmp_path: Path) -> None:
    def leaking(documents: list[Document]) -> list[Document]:
        """The pod without a sidecar is not selected."""
        found = json.loads(json.dumps(documents))
        for each in found:
            each["spec"]["podSelector"]["matchExpressions"][0]["values"] = ["meshlab-bypass"]
        return list(found)

    machine = Machine.here()
    istio = locate(LabConfig(), machine=machine, images=("not:asked",))
    istioctl = Istioctl(istio.istioctl, kubeconfig=Layout.of(SETTINGS, machine).kubeconfig, context=NAME)
    run, mesh, config = create(tmp_path, "test"), read_facts(kube, "default"), LabConfig(local=SETTINGS)
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    with Changes(kube, ledger, run) as changes, Changes(kube, ledger, run) as fence:
        out: Any = EgressProbe(
            kube, istioctl, changes, mesh, egress.OUTSIDE,
            gateways=gateway_pods(kube, egress.GATEWAY, mesh.egress_namespace),
        )  # fmt: skip
        out.begin()
        out.close()
        probe = BypassProbe(
            kube, istioctl, changes, fence, out,
            images=lambda found: with_images(kube, config, found, ()), alter=leaking,
        )  # fmt: skip
        probe.begin()
        found = bypass.no_bypass(*bypass.ask(probe))
    assert ledger.entries() == ()
    assert (
        found.verdict is Verdict.FAIL
        and "a pod without a sidecar: expected stopped, got 200" in found.summary
    )
    assert "3 of 4 ways" in str(found.evidence["observed"]), found


def test_nothing_is_left_on_the_machine(lab: Ran, clean_host: dict[str, list[str]]) -> None:
    done = down()
    assert done.returncode == 0 and "nothing left" in done.stdout, done.stdout + done.stderr
    assert host.difference(clean_host, host.snapshot()) == {}

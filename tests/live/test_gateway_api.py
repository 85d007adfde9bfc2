"""The edge by Gateway API on a living mesh: proven, red for each thing that is wrong, and nothing left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.checks import gateway_api as crds_checks
from meshlab.checks import ingress as ingress_checks
from meshlab.clusters.local import build, toolchain
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.process import SystemRunner
from meshlab.faults.edge import issuer_changed, listener_widened, on_trial
from meshlab.istio.distribution import locate
from meshlab.istio.facts import read_facts
from meshlab.istio.gateway_api import MODULE, definitions, is_served, standard_definitions, validates_frontend
from meshlab.istio.istioctl import Istioctl
from meshlab.kube import fingerprint
from meshlab.kube.apply import apply, delete
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import CheckResult, Verdict
from meshlab.security.gateways import gateway_api
from meshlab.security.gateways.ingress import HOSTS, Alter, unchanged
from meshlab.security.gateways.pki import EXPIRED, LIFETIME, make_keys
from tests.live.conftest import NAME, Ran

pytestmark = [pytest.mark.live, pytest.mark.long]
NAMESPACE = "default"
OLD = "v1.4.1"  # of Gateway API: the last whose standard channel lets no Gateway choose its clients
CHECKS = (
    ("gateway.https", ingress_checks.https),
    ("gateway.mtls", ingress_checks.mtls),
    ("gateway.jwt", ingress_checks.tokens),
)


@pytest.fixture(scope="module")
def plain_kube(kept_lab: Ran, machine: Machine) -> Kube:
    return Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)


@pytest.fixture(scope="module")
def kube(plain_kube: Kube, machine: Machine) -> Iterator[Kube]:
    """The shared lab with the definitions that its Istio depends on; they are taken away again."""
    assert not is_served(plain_kube), "the lab's own run was not asked for Gateway API"
    source = build.module_dir(MODULE, machine=machine, runner=SystemRunner())
    refs = apply(plain_kube, standard_definitions(source))
    yield plain_kube
    delete(plain_kube, refs)
    assert not is_served(plain_kube)


def proven(
    kube: Kube, machine: Machine, folder: Path, alter: Alter = unchanged, **keys: object
) -> dict[str, CheckResult]:
    """Open the gateway, make the three checks, put everything back; after that the cluster holds what it held."""
    before = fingerprint.take(kube)
    kubeconfig = machine.state / "clusters" / NAME / "kubeconfig"
    found = locate(LabConfig(), machine=machine, images=("not:asked",))
    istioctl = Istioctl(found.istioctl, kubeconfig=kubeconfig, context=NAME)
    run = create(folder, "test")
    ledger = Ledger.open(Machine.here({"XDG_STATE_HOME": str(folder), "HOME": str(folder)}), run)
    mesh = read_facts(kube, NAMESPACE)
    assert mesh.serving is not None
    frontend = validates_frontend(definitions(kube), mesh.serving.version)
    assert frontend, "the Istio in use lets a Gateway choose its clients"
    made = make_keys(*HOSTS, lifetime=keys.get("lifetime", LIFETIME))  # type: ignore[arg-type]
    with (
        gateway_api.gone_afterwards(kube, NAMESPACE),
        Changes(kube, ledger, run) as changes,
        gateway_api.opened(kube, istioctl, changes, mesh, frontend=frontend, keys=made, alter=alter) as probe,
    ):
        assert gateway_api.left(kube, NAMESPACE), "the control: what Istio made is there"
        results = {name: check(probe, name) for name, check in CHECKS}
    assert ledger.entries() == ()
    assert fingerprint.difference(before, fingerprint.take(kube)) == ()
    return results


def module_of(version: str, machine: Machine, folder: Path) -> Path:
    """The source of another version of Gateway API, asked of Go outside of our own modules."""
    runner = SystemRunner()
    go = toolchain.find(runner, machine.path).go
    asked = [go, "mod", "download", "-json", f"{MODULE}@{version}"]
    done = runner.run(asked, timeout=120, cwd=folder, env=toolchain.ENVIRONMENT)
    return Path(json.loads(done.stdout)["Dir"])


def red(results: dict[str, CheckResult]) -> set[str]:
    assert {each.verdict for each in results.values()} <= {Verdict.PASS, Verdict.FAIL}
    return {name for name, each in results.items() if each.verdict is Verdict.FAIL}


def test_the_definitions_fit_and_all_three_checks_pass(kube: Kube, machine: Machine, tmp_path: Path) -> None:
    mesh = read_facts(kube, NAMESPACE)
    assert mesh.serving is not None and mesh.edge == "istio", "what a run makes is no edge of the mesh"
    fits = crds_checks.crds(kube, mesh.serving.version)
    assert fits.verdict is Verdict.PASS and "v1.6.0" in fits.summary, fits
    found = proven(kube, machine, tmp_path)
    for name, asked in (("gateway.https", 15), ("gateway.mtls", 9), ("gateway.jwt", 18)):
        assert found[name].verdict is Verdict.PASS, found[name]
        assert found[name].summary.startswith(f"{asked} of {asked} as expected")


@pytest.mark.parametrize(
    ("alter", "wrong", "says"),
    [
        (listener_widened, "gateway.https", "another server name"),
        (issuer_changed, "gateway.jwt", "valid token"),
        (on_trial, "gateway.jwt", "no token"),
    ],
    ids=["widened", "issuer", "on trial"],
)
def test_each_thing_that_is_wrong_turns_its_own_check_red(
    alter: Alter, wrong: str, says: str, kube: Kube, machine: Machine, tmp_path: Path
) -> None:
    found = proven(kube, machine, tmp_path, alter)
    assert red(found) == {wrong}
    assert says in str(found[wrong].reason)


def test_expired_certificates_turn_all_three_red(kube: Kube, machine: Machine, tmp_path: Path) -> None:
    found = proven(kube, machine, tmp_path, lifetime=EXPIRED)
    assert red(found) == {name for name, _ in CHECKS}
    assert all("certificate has expired" in str(each.reason) for each in found.values())


def test_definitions_of_1_4_are_red(kube: Kube, machine: Machine, tmp_path: Path) -> None:
    """They take the place of the others: as on a cluster whose Istio alone was brought up to date."""
    old = standard_definitions(module_of(OLD, machine, tmp_path))
    mesh = read_facts(kube, NAMESPACE)
    assert mesh.serving is not None
    refs = apply(kube, old)
    try:
        found = crds_checks.crds(kube, mesh.serving.version)
    finally:
        delete(kube, refs)
    assert found.verdict is Verdict.FAIL
    assert "gateways.gateway.networking.k8s.io" in str(found.reason) and OLD in str(found.reason)

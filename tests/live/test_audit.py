"""The audit on a living mesh with a deliberately bad namespace: each rule finds its case, and requests show what they can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from meshlab.app import bookinfo
from meshlab.checks.audit import audit
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import AuditSettings, LabConfig, Machine
from meshlab.core.waiting import wait
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.analysis import CODE, analyze_mesh
from meshlab.istio.distribution import Distribution, locate
from meshlab.istio.facts import read_facts
from meshlab.kube.apply import ObjectRef, apply, delete
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import istioctl_of
from meshlab.run.results import Verdict
from meshlab.security.audit.model import Finding
from meshlab.security.audit.rules import RULES
from tasks.audit import prove, take_inventory
from tests.examples import bad_namespace
from tests.live.conftest import NAME, Ran

pytestmark = pytest.mark.live
NAMESPACES = (bad_namespace.NAMESPACE, bad_namespace.PLAIN)
CONFIG = LabConfig(audit=AuditSettings(namespaces=NAMESPACES))
# Rule → a piece of the answer that shows its finding, where a request can.
SHOWN = {
    "strict-mtls": "status",
    "default-deny": "status",
    "allow-all": "status",
    "deny-by-path": "status 403, then status",
    "egress-policy": "status 200",
    "sidecars": "status",
    "run-as-root": "uid 0",
    "token-mounts": "it is there",
}


@pytest.fixture(scope="module")
def cluster(kept_lab: Ran, machine: Machine) -> ClusterRef:
    return ClusterRef("local", NAME, machine.state / "clusters" / NAME / "kubeconfig", NAME)


@pytest.fixture(scope="module")
def distribution(cluster: ClusterRef, machine: Machine) -> Distribution:
    return locate(LabConfig(), machine=machine, images=("not:asked",))


@pytest.fixture(scope="module")
def found(cluster: ClusterRef, distribution: Distribution) -> Iterator[dict[str, tuple[Finding, ...]]]:
    """The findings of every rule in the bad namespaces, which stand for as long as it takes to look."""
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    try:
        put_up(kube, cluster, distribution)
        inventory = take_inventory(CONFIG, cluster, distribution, read_facts(kube, CONFIG.namespace))
        examined = {rule.id: rule.examine(inventory) for rule in RULES}
        proven = prove(CONFIG, kube, inventory, examined)
        checks = {rule.id: audit(rule, inventory, examined[rule.id], proven[rule.id]) for rule in RULES}
        assert all(checks[rule].verdict is Verdict.FAIL for rule in bad_namespace.EXPECTED)
        yield proven
    finally:
        delete(kube, [ObjectRef("v1", "Namespace", None, name) for name in NAMESPACES], timeout=60)


def put_up(kube: Kube, cluster: ClusterRef, distribution: Distribution) -> None:
    """Apply the bad namespaces and wait until their pods are Ready and their proxies have the policies."""

    def image(workload: bookinfo.Workload) -> str:
        pod = kube.pods("default", workload.selector)[0]
        return next(image for name, image in pod.images.items() if not name.startswith("istio-"))

    apply(kube, bad_namespace.documents(curl=image(bookinfo.SLEEPER), web=image(bookinfo.DETAILS)))
    for namespace in NAMESPACES:
        wait(
            f"the pods of {namespace}",
            lambda namespace=namespace: kube.pods(namespace),  # type: ignore[misc]
            ready=lambda pods: all(pod.is_ready for pod in pods),
            timeout=90,
            describe=lambda pods: ", ".join(f"{p.name} {p.status}" for p in pods if not p.is_ready),
        )
    meshed = [p for p in kube.pods(NAMESPACES[0]) if p.name in ("web", "sleep")]
    wait_acknowledged(kube, istioctl_of(cluster, distribution), meshed)


@pytest.mark.parametrize("rule", bad_namespace.EXPECTED)
def test_each_rule_finds_its_case_and_only_it(found: dict[str, tuple[Finding, ...]], rule: str) -> None:
    mine = {each.resource for each in found[rule] if bad_namespace.NAMESPACE in each.resource}
    assert mine == bad_namespace.EXPECTED[rule]


@pytest.mark.parametrize("rule", SHOWN)
def test_a_request_shows_it(found: dict[str, tuple[Finding, ...]], rule: str) -> None:
    shown = [each.proof for each in found[rule] if each.proof and each.proof.shows]
    assert shown and SHOWN[rule] in shown[0].answer, [replace(f, fix="") for f in found[rule]]


def test_a_planted_kubeconfig_does_not_run(
    cluster: ClusterRef, distribution: Distribution, tmp_path: Path
) -> None:
    """A remote Secret whose kubeconfig names `touch` as its plugin: it is a finding, and the file is never there."""
    kube, istioctl = Kube.connect(cluster.kubeconfig, cluster.context), istioctl_of(cluster, distribution)
    home, file = read_facts(kube, CONFIG.namespace).system_namespace, tmp_path / "FILE"
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [str(file)]}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "far",
        "contexts": [{"name": "far", "context": {"cluster": "far", "user": "far"}}],
        "clusters": [{"name": "far", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "far", "user": {"exec": {**plugin, "interactiveMode": "Never"}}}],
    }

    def analyzed() -> tuple[set[tuple[str, str]], list[str]]:
        """What istioctl itself finds, by code and object, and where the Secrets are that would run a program."""
        found = analyze_mesh(kube, istioctl, home)
        itself = {(each.code, each.origin) for each in found if each.code != CODE}
        return itself, [each.origin for each in found if each.code == CODE]

    before, planted = analyzed()
    assert before and not planted
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "meshlab-planted",
            "namespace": home,
            "labels": {"istio/multiCluster": "true"},
        },
        "stringData": {"far": yaml.safe_dump(config)},
    }
    try:
        apply(kube, [secret])
        beside, planted = analyzed()
        assert planted == [f"Secret {home}/meshlab-planted"]
        assert beside == before
        assert not file.exists()
    finally:
        delete(kube, [ObjectRef("v1", "Secret", home, "meshlab-planted")], timeout=30)

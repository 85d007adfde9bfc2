"""NetworkPolicies on the local cluster are enforced where that is asked for, and leave nothing on the machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from meshlab.app.once import RoundResult, n_requests
from meshlab.app.source import find_source
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.state import State
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.waiting import wait
from meshlab.kube.apply import apply, delete
from meshlab.kube.client import Kube
from tests.live import host
from tests.live.conftest import COLD, NAME, NETWORK, ROOT, command, down

pytestmark = [pytest.mark.live, pytest.mark.long]
NAMESPACE, PORT = "fenced", 8080
SETTINGS = LocalSettings(name=NAME, network=NETWORK, nodes=2, network_policy=True)
# Who calls, and on which node: the server is on the first.
CALLERS = {"friend-near": 1, "friend-far": 2, "stranger-near": 1, "stranger-far": 2}
IN_A_ROW = 3


@pytest.fixture(scope="module")
def kube(clean_host: dict[str, list[str]]) -> Iterator[Kube]:
    """A cluster of two nodes without a mesh, a server on one of them, and callers on both."""
    words = ["up", "--name", NAME, "--network", NETWORK, "--nodes", "2", "--network-policy"]
    done = subprocess.run(
        command(*words, module="meshlab.clusters.local"),
        cwd=ROOT, capture_output=True, text=True, timeout=COLD, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    layout = Layout.of(SETTINGS, Machine.here())
    kube = Kube.connect(layout.kubeconfig, None)
    record = State(layout).record()
    assert record is not None
    image = next(each for each in record.images if "/curl:" in each)
    account = {
        "name": NAMESPACE,
        "namespace": NAMESPACE,
    }  # the namespace's own comes later than its first pods
    apply(
        kube,
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        ],
    )
    pods = [pod("server", 1, image, ["python3", "-m", "http.server", str(PORT)])]
    pods += [pod(name, node, image, ["sleep", "infinity"]) for name, node in CALLERS.items()]
    apply(kube, pods)
    wait(
        "the pods to be Ready",
        lambda: [each.name for each in kube.pods(NAMESPACE) if each.is_ready],
        ready=lambda names: len(names) == len(pods),
        timeout=60,
    )
    yield kube
    down()


def pod(name: str, node: int, image: str, argv: list[str]) -> dict[str, Any]:
    labels = {"app": name, "role": name.partition("-")[0]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "nodeName": f"{NAME}-node{node}",
            "serviceAccountName": NAMESPACE,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image, "command": argv}],
        },
    }


def policy(name: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def asked(kube: Kube, caller: str, n: int = IN_A_ROW) -> RoundResult:
    """Ask the server by its address, each time on a new connection."""
    (server,) = kube.pods(NAMESPACE, "app=server")
    source = find_source(kube, NAMESPACE, f"app={caller}")
    return n_requests(kube, source, f"http://{server.ip}:{PORT}/", n, request_timeout=3)


def await_(kube: Kube, caller: str, status: str) -> None:
    """Wait until the nodes have heard of a change: what is asserted is asked for afterwards, three times in a row."""
    wait(
        f"{caller} to get {status}",
        lambda: asked(kube, caller, 1),
        ready=lambda seen: status in seen.by_status,
        timeout=30,
    )


def statuses(kube: Kube) -> dict[str, dict[str, int]]:
    return {caller: dict(asked(kube, caller).by_status) for caller in CALLERS}


def test_everybody_is_served_without_a_policy(kube: Kube) -> None:
    assert statuses(kube) == {caller: {"200": IN_A_ROW} for caller in CALLERS}


def test_a_policy_for_the_server_refuses_strangers_on_either_node_and_serves_friends(kube: Kube) -> None:
    friends = {"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}
    refs = apply(
        kube,
        [
            policy("deny", podSelector={}, policyTypes=["Ingress"], ingress=[]),
            policy("friends", podSelector={"matchLabels": {"app": "server"}}, ingress=[friends]),
        ],
    )
    try:
        for caller in ("stranger-near", "stranger-far"):
            await_(kube, caller, "000")
        wanted = {caller: {"200" if "friend" in caller else "000": IN_A_ROW} for caller in CALLERS}
        assert statuses(kube) == wanted
    finally:
        delete(kube, refs)
    for caller in ("stranger-near", "stranger-far"):
        await_(kube, caller, "200")
    assert statuses(kube) == {caller: {"200": IN_A_ROW} for caller in CALLERS}


def test_a_policy_for_callers_keeps_them_in(kube: Kube) -> None:
    strangers = {"matchLabels": {"role": "stranger"}}
    refs = apply(kube, [policy("in", podSelector=strangers, policyTypes=["Egress"], egress=[])])
    try:
        for caller in ("stranger-near", "stranger-far"):
            await_(kube, caller, "000")
        wanted = {caller: {"200" if "friend" in caller else "000": IN_A_ROW} for caller in CALLERS}
        assert statuses(kube) == wanted
    finally:
        delete(kube, refs)


def test_nothing_is_left_on_the_machine(kube: Kube, clean_host: dict[str, list[str]]) -> None:
    done = down()
    assert done.returncode == 0 and "nothing left" in done.stdout, done.stdout + done.stderr
    assert host.difference(clean_host, host.snapshot()) == {}

"""When the lab has come to rest after a change: roll-outs done, proxies with the new configuration, none draining."""

from __future__ import annotations

from collections.abc import Sequence

from meshlab.app.bookinfo import WORKLOADS
from meshlab.core.waiting import Clock, wait
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.control_plane import SIDECAR, istiod_pods
from meshlab.istio.drained import wait_drained
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.istio.sidecars import ask_to_go
from meshlab.kube.apply import delete
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.kube.rollout import wait_deployments

TIMEOUT = 90.0  # seconds for each of the steps


def wait_settled(
    kube: Kube,
    istioctl: Istioctl,
    mesh: Mesh,
    *,
    rejecting: Sequence[str] = (),
    clock: Clock | None = None,
) -> None:
    """Return when what was changed is in force where Istio runs and in our namespace.

    Also waits until no proxy serves a listener that it has replaced: its connections follow the earlier
    policies, and its counters go with it. Without an istiod nothing can be acknowledged, and nothing has
    changed in the proxies.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        mesh: The facts of the mesh.
        rejecting: Selectors of pods whose proxies can't take the configuration; they are not waited for.
        clock: Of the wait; the real one where not given.

    Raises:
        WaitTimeout: A proxy does not acknowledge; its text names it.
        RolloutError: istiod does not get Ready.
        IstioError: istioctl fails.
    """
    for each in mesh.namespaces:
        _wait_rollouts(kube, each, clock)
    pods = proxies_of(kube, mesh, rejecting)
    if istiod_pods(kube):
        wait_acknowledged(kube, istioctl, pods, timeout=TIMEOUT, clock=clock)
    wait_drained(kube, pods, timeout=TIMEOUT, clock=clock)


def start_anew(kube: Kube, istioctl: Istioctl, mesh: Mesh, *, clock: Clock | None = None) -> None:
    """Replace the application's pods, and return when the new ones are in force.

    A proxy counts from its start on: what earlier faults did to its requests would stand in the dashboards for ever.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        mesh: The facts of the mesh.
        clock: Of the waits; the real one where not given.

    Raises:
        WaitTimeout: A pod does not go, or a proxy does not acknowledge.
        RolloutError: A workload does not get Ready.
        KubeError: The API server refuses it.
    """
    pods = [pod for each in WORKLOADS for pod in kube.pods(mesh.namespace, each.selector) if not pod.deleting]
    delete(kube, [ask_to_go(kube, pod) for pod in pods], timeout=TIMEOUT, clock=clock)
    wait_settled(kube, istioctl, mesh, clock=clock)


def proxies_of(kube: Kube, mesh: Mesh, rejecting: Sequence[str] = ()) -> list[PodSummary]:
    """List the pods with a proxy, gateways included.

    Args:
        kube: Client of the cluster.
        mesh: The facts of the mesh.
        rejecting: Selectors of pods of our namespace that are left out.

    Returns:
        The pods.
    """
    left_out = {pod.uid for selector in rejecting for pod in kube.pods(mesh.namespace, selector)}
    return [
        pod
        for each in mesh.namespaces
        for pod in kube.pods(each)
        if SIDECAR in pod.containers and not pod.deleting and pod.uid not in left_out
    ]


def _wait_rollouts(kube: Kube, namespace: str, clock: Clock | None) -> None:
    found = kube.objects("apps/v1", "Deployment", namespace)
    wanted = [each["metadata"]["name"] for each in found if each["spec"].get("replicas", 1)]
    stopped = [each for each in found if not each["spec"].get("replicas", 1)]
    if wanted:
        wait_deployments(kube, namespace, wanted, timeout=TIMEOUT, clock=clock)

    def going() -> list[str]:
        names = [pod.name for pod in kube.pods(namespace) if pod.deleting]
        for each in stopped:
            labels = ",".join(f"{k}={v}" for k, v in each["spec"]["selector"]["matchLabels"].items())
            names += [pod.name for pod in kube.pods(namespace, labels)]
        return sorted(set(names))

    wait(
        f"the pods of {namespace} that go to be gone",
        going,
        ready=lambda names: not names,
        describe=lambda names: ", ".join(names) or "none",
        timeout=TIMEOUT,
        clock=clock,
    )
